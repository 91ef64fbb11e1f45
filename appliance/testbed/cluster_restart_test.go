package testbed

import (
	"context"
	"testing"
	"time"

	"bumpless/appliance/api"
)

// killQEMU kills every QEMU of a host.
func (c *testCluster) killQEMU(host string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	script := `n=0; for p in /proc/[0-9]*; do case $(readlink $p/exe) in */qemu-system-*) kill -KILL ${p#/proc/} && n=1;; esac; done; [ $n = 1 ]`
	if out, err := c.Bed.Host(host).Exec(ctx, "sh", "-c", script); err != nil {
		c.t.Fatalf("kill QEMU on %s: %v: %s", host, err, out)
	}
}

// A host's own word is enough to start its guest anew there, and the leader must
// take that word from a host that does not lead, too.
func TestE2EAGuestThatDiesIsStartedAgainOnItsHostWhetherOrNotThatLeads(t *testing.T) {
	c := newTestCluster(t)
	from, tried := time.Now(), false
	for round := 0; !tried && round < 4; round++ {
		host := []string{hostA, hostB}[round%2]
		if round > 0 {
			if last := c.move(host); last.Outcome != "moved" {
				t.Fatalf("the move ended %q (%s); want moved", last.Outcome, last.Reason)
			}
		}
		before := c.verified(host)
		st, err := c.Wait(time.Minute, "a leader", func(s api.Status) bool { return s.Host == host && s.Leader != "" })
		must(t, err)
		tried = st.Leader != host
		killed := time.Now()
		c.killQEMU(host)
		again, err := c.Observer.Wait(c.settings.GocbRef, time.Minute, func(s Sighting) bool {
			return s.At.After(killed) && s.Report.BootID != before.Report.BootID
		})
		must(t, err)
		t.Logf("%s, led by %s: heard again from %s after %v", host, st.Leader, again.Source, again.At.Sub(killed).Round(time.Millisecond))
		if again.Source != host {
			t.Errorf("the guest of %s was started on %s; want it where it was", host, again.Source)
		}
		c.verified(host)
	}
	if !tried {
		t.Error("each host led when its guest died: the word of one that does not lead was not tried")
	}
	c.since(from)
}
