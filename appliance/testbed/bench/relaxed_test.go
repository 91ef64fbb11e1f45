package main

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"bumpless/migrate/policy"
	"bumpless/migrate/qmp"
)

func TestEveryRelaxedMethodComesAfterThePolicyWhosePauseItIsGiven(t *testing.T) {
	order := methods()
	for _, x := range relaxations {
		if !slices.Contains(policy.Names(), x.policy) || slices.Index(order, x.method) < slices.Index(order, x.policy) {
			t.Errorf("methods() = %v; want %s after %s", order, x.method, x.policy)
		}
	}
}

func TestTheLimitIsThePauseOfThePolicyInTheSameTurn(t *testing.T) {
	x := relaxation{"qemu-relaxed", "bumpless"}
	now := trial{load: load{name: "mix"}, cable: cable{bitsPerS: 1e9}, budgetMs: 300, method: x.method, run: 2}
	other := row("mix", 1e9, "bumpless", 2, 2, 400, 222, 60)
	other.BudgetMs = 1000
	rows := []Row{row("mix", 1e9, "bumpless", 1, 2, 400, 111, 60), other, row("mix", 200e6, "bumpless", 2, 2, 400, 112, 60),
		row("mix", 1e9, "memory-pattern", 2, 2, 400, 113, 60), row("mix", 1e9, "bumpless", 2, 2, 400, 30.2, 60)}
	if ms, why := x.limitMs(now, rows); ms != 31 || why != "" {
		t.Errorf("limitMs() = %d, %q; want 31: the stop of 30.2 ms, not the blackout", ms, why)
	}
	if ms, why := x.limitMs(now, rows[:4]); ms != 0 || why != "no run of bumpless to take the pause from" {
		t.Errorf("limitMs() = %d, %q without the policy's run", ms, why)
	}
	rows[4] = without(rows[4], "refused", "", 1)
	if ms, why := x.limitMs(now, rows); ms != 0 || why != "bumpless: refused" {
		t.Errorf("limitMs() = %d, %q after a refusal", ms, why)
	}
}

func TestTheLimitIsDoubledUntilQEMUMovesTheGuest(t *testing.T) {
	for _, c := range []struct {
		endsAt, fails int
		want          []int
	}{{31, 0, []int{31}}, {124, 0, []int{31, 62, 124}}, {1 << 20, 0, []int{31, 62, 124, 248}}, {1 << 20, 62, []int{31, 62}}} {
		var limits []int
		err := doubling(31, func(limitMs, try int) (bool, error) {
			limits = append(limits, limitMs)
			if try != len(limits) {
				t.Errorf("try %d; want %d", try, len(limits))
			}
			if limitMs == c.fails {
				return false, errors.New("QEMU is gone")
			}
			return limitMs >= c.endsAt, nil
		})
		if !reflect.DeepEqual(limits, c.want) || (err != nil) != (c.fails > 0) {
			t.Errorf("ends at %d, fails at %d: limits %v, %v; want %v", c.endsAt, c.fails, limits, err, c.want)
		}
	}
}

func TestATryIsGivenUpAfterTwentyPassesAndTenSeconds(t *testing.T) {
	for _, c := range []struct {
		pass  int
		tried time.Duration
		want  bool
	}{{21, 10 * time.Second, true}, {20, time.Minute, false}, {500, 9 * time.Second, false}} {
		if got := hopeless(c.pass, c.tried); got != c.want {
			t.Errorf("hopeless(%d, %v) = %v; want %v", c.pass, c.tried, got, c.want)
		}
	}
}

func TestPassOfReadsTheNumberOfAPass(t *testing.T) {
	for data, want := range map[string]int{`{"pass":7}`: 7, `{}`: 0, ``: 0} {
		if got := passOf(qmp.Event{Name: "MIGRATION_PASS", Data: json.RawMessage(data)}); got != want {
			t.Errorf("passOf(%s) = %d; want %d", data, got, want)
		}
	}
}

func TestOnlyTakesARelaxedMethodWithThePolicyWhosePauseItIsGiven(t *testing.T) {
	if _, err := quick.only("//qemu-relaxed,memory-pattern"); err == nil {
		t.Error("qemu-relaxed without bumpless: no error")
	}
	if _, err := quick.only("//qemu-relaxed,bumpless"); err != nil {
		t.Error(err)
	}
}
