package core

import (
	"fmt"
	"slices"
	"strings"
)

// Admit says why a leader does not enter an order into the log: a host must not be
// taken out of service when what is left is no quorum, since nobody could renew a
// lease and every guest would be killed. silent are hosts that the leader has not
// heard of for longer than a lease; they are as good as out of service.
//
// Apply does not ask this. It has to give the same state on hosts of every release
// for the same log, and earlier ones take such an order.
func Admit(s State, silent []string, c Command) *Refusal {
	o := c.SetMaintenance
	if o == nil || !o.On {
		return nil
	}
	if o.Insist && c.By.Role != roleMayInsist {
		return refuse(NotAllowed, "%s has the role %s: to insist on a drain needs the role %s", c.By.Name, c.By.Role, roleMayInsist)
	}
	if h, known := s.Hosts[o.Host]; o.Insist || !known || h.Service != InService {
		return nil
	}
	q := s.quorumWithout(o.Host, silent)
	if q.enough() {
		return nil
	}
	return refuse(NoQuorum, "%s, %s: the guests would be killed. %s", q.circumstance(o.Host), q.left("would be"), q.advice())
}

// Without says what it means for the others when a host that is out of service is
// switched off: enough of them are left or not, and a caution, "" when one more may
// fail all the same.
func (s State) Without(host string) (caution string, enough bool) {
	q := s.quorumWithout(host, nil)
	switch {
	case !q.enough():
		return fmt.Sprintf("%s, %s: to switch it off would kill the guests; %s", q.circumstance(host), q.left("would be"), q.advice()), false
	case q.inService == q.needed:
		return "no other host may fail until it is back", true
	}
	return "", true
}

// quorum is what is left of a site when one host is out of service.
type quorum struct {
	hosts, inService, needed int
	out, silent              []string // of the others
}

func (s State) quorumWithout(host string, silent []string) quorum {
	q := quorum{hosts: len(s.Hosts), needed: len(s.Hosts)/2 + 1}
	for _, name := range sortedKeys(s.Hosts) {
		switch {
		case name == host:
		case s.Hosts[name].Service != InService:
			q.out = append(q.out, name)
		case slices.Contains(silent, name):
			q.silent = append(q.silent, name)
		default:
			q.inService++
		}
	}
	return q
}

func (q quorum) enough() bool { return q.inService >= q.needed }

// circumstance that makes the host one too many.
func (q quorum) circumstance(host string) string {
	var said []string
	if len(q.out) > 0 {
		said = append(said, strings.Join(q.out, " and ")+" out of service too")
	}
	if len(q.silent) > 0 {
		said = append(said, strings.Join(q.silent, " and ")+" not answering")
	}
	if len(said) == 0 {
		return "without " + host
	}
	return "with " + strings.Join(said, ", and ")
}

func (q quorum) left(verb string) string {
	return fmt.Sprintf("%d of %s %s left in service and %s needed", q.inService, counted(q.hosts, "host"), verb, are(q.needed))
}

// advice: what brings a host back.
func (q quorum) advice() string {
	if len(q.out) > 0 {
		return fmt.Sprintf("`bumpless resume %s` first", q.out[0])
	}
	return fmt.Sprintf("bring another host back first; an %s may insist", roleMayInsist)
}

func are(n int) string {
	if n == 1 {
		return "1 is"
	}
	return fmt.Sprintf("%d are", n)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
