// Package testbed builds a small substation on one machine: servers and a
// witness as Linux namespaces, a station bus, LAN A and LAN B, a power strip,
// a merging unit that plays Sampled Values, and an observer that sees what a
// relay's neighbours would see.
//
//	      station bus (bridge bus)         observer, merging unit: in the fabric
//	   ┌──────┴─────────┬───────────┐
//	 bus0             bus0        bus0
//	┌──────┐        ┌──────┐    ┌───────┐
//	│host-a│        │host-b│    │witness│   each: own network, processes,
//	└─┬──┬─┘        └─┬──┬─┘    └─┬──┬──┘   mounts and host name; process 1 is
//	lana lanb       lana lanb   lana lanb  a supervisor whose SIGKILL is a
//	  └──│────────────┴──│────────┘  │     power cut: everything dies at once
//	     └───────────────┴───────────┘
//
// A LAN's ports can be shaped, delayed, stalled and cut.
//
// All of it lives in namespaces of the process that called Enter, so that two
// beds never collide and a crash leaves nothing behind.
package testbed
