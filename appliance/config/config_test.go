package config

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"bumpless/migrate/policy"
)

func TestTheExampleLoads(t *testing.T) {
	s, err := Parse("example.yaml", Example)
	if err != nil {
		t.Fatal(err)
	}
	if h, ok := s.Host("host-b"); !ok || len(h.Addresses()) != 2 || h.RaftPort != 7001 {
		t.Errorf("Host(host-b) = %+v, %v; want both addresses and the default port", h, ok)
	}
	if s.Guests[0].CPU != "host" || !s.Guests[0].Starts() {
		t.Errorf("guest = %+v; want CPU host with kvm, and a start", s.Guests[0])
	}
}

// Each case changes one thing in the example; the error must say where it is.
func TestWhatIsWrongIsNamedWithItsPlace(t *testing.T) {
	for _, c := range []struct{ what, old, new, want string }{
		{"unknown field", "site: north-substation", "site: n\nlocation: x", `4:1`},
		{"wrong type", "lease_ms: 3000", "lease_ms: soon", "6:13"},
		{"duplicate key", "qemu:\n  accel: kvm", "qemu:\n  accel: kvm\n  accel: tcg", "15:3"},
		{"out of range", "lease_ms: 3000", "lease_ms: 1", "6:13: $.timing.lease_ms"},
		{"inequality", "watchdog_timeout_ms: 4000", "watchdog_timeout_ms: 900", "at least two petting intervals"},
		{"unknown policy", "policy: bumpless", "policy: magic", "18:11: $.move.policy"},
		{"address twice", "lan_a: 10.1.0.2", "lan_a: 10.1.0.1", "used by $.hosts[0].lan_a already"},
		{"bad address", "lan_a: 10.1.0.2", "lan_a: 10.1.0.256", "is not an IP address"},
		{"server without watchdog", "watchdog: {kind: device, path: /dev/watchdog}", "watchdog: {kind: none}", "could run a guest twice"},
		{"multicast mac", "52:54:00:00:01:01", "01:0c:cd:01:00:01", "not the address of one station"},
		{"budget within margin", "budget_ms: 300", "budget_ms: 30", "more than move.margin_ms"},
		{"preferred witness", "preferred_host: host-b", "preferred_host: witness", "is not a server"},
		{"version", "version: 1", "version: 2", "this release understands 1"},
		{"no version", "version: 1\n", "", "missing: write 'version: 1'"},
		{"tab", "  lease_ms: 3000", "\tlease_ms: 3000", "6:1: a tab: indent with spaces"},
		{"not YAML", "version: 1", "version: [1", "site file"},
		{"two documents", "guests:", "---\nguests:", "want one"},
	} {
		t.Run(c.what, func(t *testing.T) {
			text := strings.Replace(string(Example), c.old, c.new, 1)
			if text == string(Example) {
				t.Fatal("the case changes nothing")
			}
			_, err := Parse("site.yaml", []byte(text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Parse() = %v; want an error with %q", err, c.want)
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Errorf("Parse() = %T; want *Error", err)
			}
		})
	}
}

// What one mistake brings with it is not told: the operator would mend that.
func TestOneMistakeIsOneProblem(t *testing.T) {
	text := string(Example)
	hosts, guests := strings.Index(text, "hosts:\n"), strings.Index(text, "guests:\n")
	for _, c := range []struct{ what, text, want string }{
		{"no hosts", text[:hosts] + text[guests:], "$.hosts: 0 hosts, want 1 to 16"},
		{"unknown role", strings.Replace(text, "role: witness", "role: arbiter", 1), `"arbiter", want server or witness`},
		{"unknown role of a server", strings.Replace(text, "role: server", "role: sever", 1), `"sever", want server or witness`},
		{"no watchdog", strings.Replace(text, "    watchdog: {kind: device, path: /dev/watchdog}\n", "", 1), `"", want device: a server without`},
	} {
		_, err := Parse("site.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: Parse() = %v; want %q alone", c.what, err, c.want)
		}
	}
}

func TestAByteOrderMarkIsTaken(t *testing.T) {
	if _, err := Parse("site.yaml", append([]byte("\xef\xbb\xbf"), Example...)); err != nil {
		t.Errorf("Parse() = %v; want the file read", err)
	}
}

func TestAMissingSiteFileSaysHowToNameAnother(t *testing.T) {
	_, err := Load("none.yaml")
	if err == nil || !strings.HasSuffix(err.Error(), "no such file or directory: say --site FILE, or set BUMPLESS_SITE") {
		t.Errorf("Load() = %v; want the advice", err)
	}
}

func TestAnEvenNumberOfVotesIsRefused(t *testing.T) {
	text := string(Example)
	from := strings.Index(text, "  - name: witness")
	to := strings.Index(text, "guests:\n")
	_, err := Parse("site.yaml", []byte(text[:from]+text[to:]))
	if err == nil || !strings.Contains(err.Error(), "add a witness") {
		t.Errorf("Parse() = %v; want the advice to add a witness", err)
	}
}

func TestEveryPolicyCanBeChosen(t *testing.T) {
	if want := policy.Names(); !slices.Equal(policies, want) {
		t.Errorf("policies = %v; migrate/policy has %v", policies, want)
	}
}
