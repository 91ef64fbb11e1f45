// Package console is how a person talks to a host: one grammar of verbs, used
// by the command line and by the serial console, which is the last way in.
//
//	status  guests  explain [GUEST]  events [--after N] [--follow]
//	move GUEST HOST   drain HOST   resume HOST   help [TOPIC]
//
// A verb becomes a call of api.Backend; nothing is decided here. On the command
// line the backend is a client of the daemon, on the serial port it is the
// daemon itself (api.As).
//
// # Exit status
//
//	0 done   1 failed, or no longer followed   2 the command is not understood   3 refused, or a guest stays
//
// # JSON
//
// With --json everything on standard output is JSON, one object on each line:
//
//	{"version":1,"command":VERB,KIND:VALUE}
//
// KIND says what VALUE is; the types are those of package api, and Result:
//
//	status        Status           of `status`
//	guests        [Guest]          of `guests`
//	explanations  [Explanation]    of `explain`
//	events        [Event]          of `events`
//	event         Event            of `events --follow`, one on each line
//	accepted      Accepted         of an order; the only line with --dry-run or --no-wait
//	progress      Progress         of an order that is followed, one on each line; of `trace` TraceLine
//	result        Result           the last line of an order that was followed
//	help          string           of `help`
//	release       string           of `version`
//	check         object           of `check`: file, site, hosts, guests, waiting_period, waiting_period_s
//	trace         Traced           the last line of `trace`
//	certificate   string           of `pki`: the file that was made
//	error         {code,text}      the only or last line; code is "usage", "failed" or
//	                               the code of a refusal: `help refusals` lists them
//
// Fields may be added without a new version; none is removed or changes its
// meaning.
package console

// JSONVersion of what --json prints.
const JSONVersion = 1
