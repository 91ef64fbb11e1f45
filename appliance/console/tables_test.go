package console

import (
	"strings"
	"testing"

	"bumpless/appliance/api"
)

// shown is what `status` prints of s.
func shown(s api.Status) string {
	var b strings.Builder
	printStatus(&b, s)
	return b.String()
}

func TestAHostOfWhichNothingIsKnownIsNotShownAsHealthy(t *testing.T) {
	servers := func(leader string, silent ...*float64) api.Status {
		s := api.Status{Site: "north", Host: "host-b", Leader: leader, Index: 41, LeaseLeftS: 2.5}
		for i, name := range []string{"host-a", "host-b"} {
			s.Hosts = append(s.Hosts, api.HostStatus{Name: name, Role: "server", Service: "in-service", SilentS: silent[i]})
		}
		s.Hosts = append(s.Hosts, api.HostStatus{Name: "witness", Role: "witness", Service: "in-service"})
		return s
	}
	for _, c := range []struct {
		what   string
		status api.Status
		want   []string
		not    string
	}{
		{"the leader said so", servers("witness", seconds(42), seconds(0.1)), []string{"42.0 s", "0.1 s"}, "unknown"},
		{"the leader does not answer", servers("witness", nil, nil),
			[]string{"host-a   server   in-service  -           -         unknown", "SILENT is known to the leader only: witness does not answer host-b, ask on witness itself"}, "0.0 s"},
		{"no leader is known", servers("", nil, nil), []string{"unknown", "ask each host which one leads"}, "0.0 s"},
		{"a daemon of an earlier release", servers("witness", seconds(-1), seconds(-1)), []string{"unknown", "ask on witness itself"}, "-1"},
	} {
		got := shown(c.status)
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: status = %s\nwant %q in it", c.what, got, want)
			}
		}
		if strings.Contains(got, c.not) {
			t.Errorf("%s: status = %s\nwant no %q in it", c.what, got, c.not)
		}
	}
}
