package console

import (
	"strings"
	"testing"
)

func TestWhatMayBeOldSaysSo(t *testing.T) {
	for _, c := range []struct {
		what, leader string
		index        uint64
		want, json   string
		known        bool
	}{
		{"a leader", "host-b", 24, "", `"leader":"host-b","index":24`, true},
		{"no leader", "", 24, "no leader is known: what follows is as of log entry 24 and may be old\n", `"leader":"","index":24`, true},
		{"nothing yet", "", 0, "the site is not known yet: no leader\n", `"leader":"","index":0`, false},
		{"no log yet", "host-b", 0, "the site is not known yet: host-b leads, and host-a has its log still to come\n", `"leader":"host-b","index":0`, false},
	} {
		s := fakeStatus
		s.Leader, s.Index = c.leader, c.index
		if c.index == 0 {
			s.Hosts, s.Guests = nil, nil
		}
		for _, line := range []string{"status", "guests", "explain", "explain main1"} {
			f := &fakeDaemon{status: &s}
			out, errs, status := enterLine(f, strings.Fields(line)...)
			if status != Done || !strings.Contains(out, c.want) || strings.Contains(out, "leader is known: what") != strings.Contains(c.want, "leader is known: what") {
				t.Errorf("%s: %s = %d %q %q; want %q", c.what, line, status, out, errs, c.want)
			}
			if got := strings.Contains(out, "main1"); got != c.known {
				t.Errorf("%s: %s = %q; want guests in it: %v", c.what, line, out, c.known)
			}
			if out, _, _ := enterLine(f, strings.Fields(line+" --json")...); !strings.Contains(out, c.json) && line != "status" {
				t.Errorf("%s: %s --json = %q; want %s", c.what, line, out, c.json)
			}
		}
	}
}
