package core

import (
	"reflect"
	"strings"
	"testing"
)

// three is the usual site: two servers and a witness.
func three(t testing.TB, out ...string) State {
	l := &log{t: t, state: NewState()}
	for _, name := range []string{"a", "b"} {
		l.do(hostOrder("a"), Command{RegisterHost: &RegisterHost{Name: name, Role: Server, MemoryMiB: 4096}})
	}
	l.do(hostOrder("a"), Command{RegisterHost: &RegisterHost{Name: "w", Role: Witness}})
	for _, name := range out {
		l.maintain(name)
	}
	return l.state
}

func TestNoMoreHostsAreTakenOutOfServiceThanTheQuorumAllows(t *testing.T) {
	drain := func(by Order, host string, insist bool) Command {
		return Command{By: by, SetMaintenance: &SetMaintenance{Host: host, On: true, Insist: insist}}
	}
	for _, c := range []struct {
		what   string
		state  State
		silent []string
		order  Command
		code   Code
		text   string
	}{
		{"the first host", three(t), nil, drain(operator, "a", false), "", ""},
		{"the same host again", three(t, "a"), nil, drain(operator, "a", false), "", ""},
		{"the witness beside a server", three(t, "a"), nil, drain(operator, "w", false), NoQuorum,
			"with a out of service too, 1 of 3 hosts would be left in service and 2 are needed: the guests would be killed. `bumpless resume a` first"},
		{"the other server", three(t, "a"), nil, drain(engineer, "b", false), NoQuorum, "1 of 3 hosts"},
		{"an operator insists", three(t, "a"), nil, drain(operator, "b", true), NotAllowed, "to insist on a drain needs the role ENGINEER"},
		{"an engineer insists", three(t, "a"), nil, drain(engineer, "b", true), "", ""},
		{"a host beside one that is silent", three(t), []string{"a"}, drain(operator, "w", false), NoQuorum,
			"with a not answering, 1 of 3 hosts would be left in service and 2 are needed: the guests would be killed. bring another host back first"},
		{"the host that is silent itself", three(t), []string{"a"}, drain(operator, "a", false), "", ""},
		{"the second of four", site(t).maintain("a").state, nil, drain(operator, "b", false), NoQuorum, "2 of 4 hosts would be left in service and 3 are needed"},
		{"back into service", three(t, "a", "b"), nil, Command{By: operator, SetMaintenance: &SetMaintenance{Host: "a"}}, "", ""},
		{"no such host", three(t, "a"), nil, drain(operator, "x", false), "", ""}, // Apply says so
		{"another order", three(t, "a"), nil, Command{By: operator, SetWanted: &SetWanted{Guest: "scada"}}, "", ""},
	} {
		r := Admit(c.state, c.silent, c.order)
		if r == nil {
			r = &Refusal{}
		}
		if r.Code != c.code || !strings.Contains(r.Text, c.text) {
			t.Errorf("%s: Admit() = %q, %q; want %q with %q", c.what, r.Code, r.Text, c.code, c.text)
		}
	}
}

// Hosts of two releases apply the same log while a site is upgraded.
func TestAnOrderThatIsNotAdmittedIsAppliedAsByEarlierReleases(t *testing.T) {
	s := three(t, "a")
	plain, r := Apply(s, Command{By: engineer, SetMaintenance: &SetMaintenance{Host: "b", On: true}})
	if !r.OK() || plain.Hosts["b"].Service != Maintenance {
		t.Errorf("Apply() = %+v, b is %s; want b in maintenance", r, plain.Hosts["b"].Service)
	}
	if insisted, _ := Apply(s, Command{By: engineer, SetMaintenance: &SetMaintenance{Host: "b", On: true, Insist: true}}); !reflect.DeepEqual(insisted, plain) {
		t.Error("to insist makes another state, which an earlier release does not have")
	}
}

func TestWhatAHostThatIsOutOfServiceMeansForTheOthers(t *testing.T) {
	for _, c := range []struct {
		what    string
		state   State
		enough  bool
		caution string
	}{
		{"one of three", three(t, "a"), true, "no other host may fail until it is back"},
		{"two of three", three(t, "a", "w"), false, "with w out of service too, 1 of 3 hosts would be left in service and 2 are needed"},
		{"one of five", func() State {
			l := site(t)
			l.do(hostOrder("a"), Command{RegisterHost: &RegisterHost{Name: "d", Role: Server}})
			return l.maintain("a").state
		}(), true, ""},
	} {
		caution, enough := c.state.Without("a")
		if enough != c.enough || !strings.HasPrefix(caution, c.caution) || (caution == "") != (c.caution == "") {
			t.Errorf("%s: Without(a) = %q, %v; want %q, %v", c.what, caution, enough, c.caution, c.enough)
		}
	}
}
