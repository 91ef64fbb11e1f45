package core

// A guest with a local disk is tied to the host that has what it wrote last. A
// move takes the content along; nothing else does. So when that host is lost
// the guest waits for it: started elsewhere it would run on what an earlier stay
// left there, and what it had confirmed since would be gone.
//
// An operator who knows that the disk is lost for good says so by the site file:
// a guest without its local disk may start anywhere.

// diskAllows says why the guest cannot be started on the host, or nil.
func (g *Guest) diskAllows(host string) *Refusal {
	if g.DiskHost == "" || g.DiskHost == host {
		return nil
	}
	return refuse(DiskElsewhere, "guest %s cannot be started on host %s: what it wrote to its local disk is on host %s only: bring that host back", g.Name, host, g.DiskHost)
}

// diskIsOn notes where the guest writes from now on.
func (g *Guest) diskIsOn(host string) {
	if !g.LocalDisk {
		host = ""
	}
	g.DiskHost = host
}
