package main

import (
	"reflect"
	"strings"
	"testing"

	"bumpless/appliance/testbed/protection"
)

func names(trials []trial) (list []string) {
	for _, t := range trials {
		list = append(list, t.String())
	}
	return list
}

func TestPlanTakesTheMethodsInTurnWithinALink(t *testing.T) {
	s := selection{loads: []string{"hot16"}, links: []string{"1G"}, methods: []string{"qemu-precopy", "bumpless"}}
	want := []string{
		"hot16, 1G, 300 ms, qemu-precopy, run 1", "hot16, 1G, 300 ms, bumpless, run 1",
		"hot16, 1G, 1000 ms, qemu-precopy, run 1", "hot16, 1G, 1000 ms, bumpless, run 1",
		"hot16, 1G, 300 ms, qemu-precopy, run 2", "hot16, 1G, 300 ms, bumpless, run 2",
		"hot16, 1G, 1000 ms, qemu-precopy, run 2", "hot16, 1G, 1000 ms, bumpless, run 2",
	}
	if got := names(plan(s, 2, false)); !reflect.DeepEqual(got, want) {
		t.Errorf("plan = %s; want %s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestQuickPlanHasThreeLoadsTwoLinksAndThreeMethods(t *testing.T) {
	if n := len(plan(quick, 1, true)); n != 3*2*3 {
		t.Errorf("the quick plan has %d runs; want 18", n)
	}
}

func TestALinkThatIsTakenByNameIsInNoOtherPlan(t *testing.T) {
	for links, want := range map[string]bool{"": false, "200M,1G": false, "500M": true} {
		s, err := selection{}.only("idle/" + links)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(strings.Join(names(plan(s, 1, true)), "\n"), "500M"); got != want {
			t.Errorf("the plan of links %q has 500M: %v; want %v", links, got, want)
		}
	}
}

func TestOnlyNarrowsASelection(t *testing.T) {
	for _, c := range []struct {
		filter string
		runs   int // of the quick plan
	}{{"", 18}, {"idle", 6}, {"idle,mix/1G", 6}, {"//bumpless", 6}, {"mix/200M/qemu-precopy", 1}} {
		s, err := quick.only(c.filter)
		if n := len(plan(s, 1, true)); err != nil || n != c.runs {
			t.Errorf("only(%q): %d runs, %v; want %d", c.filter, n, err, c.runs)
		}
	}
}

func TestOnlyRefusesWhatThereIsNot(t *testing.T) {
	for _, filter := range []string{"idel", "/10G", "//qemu", "a/b/c/d"} {
		if _, err := quick.only(filter); err == nil {
			t.Errorf("only(%q): no error", filter)
		}
	}
}

func TestEachProgramOfTheGuestIsALoad(t *testing.T) {
	var programs []string
	for _, l := range loads {
		if l.program != "" {
			programs = append(programs, l.program)
			if l.hotMiB != hotUnknown || l.memoryMiB() <= guestMiB {
				t.Errorf("%s: a hot set of %d MiB in %d MiB; want none known, and more memory than the others have", l.name, l.hotMiB, l.memoryMiB())
			}
		}
	}
	if !reflect.DeepEqual(programs, protection.Loads) {
		t.Errorf("programs %v; want all of the guest's, %v", programs, protection.Loads)
	}
}
