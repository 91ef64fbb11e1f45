// Package policytest has a policy for tests of what asks policies.
package policytest

import "bumpless/migrate/policy"

// Rule is a policy whose answers a test sets; nil holds and releases nothing.
type Rule struct {
	Holds, Releases func(p policy.Page, pass uint32) bool
	Has             policy.Traits
}

// Always holds, or releases.
func Always(policy.Page, uint32) bool { return true }

func (r Rule) Name() string                            { return "rule" }
func (r Rule) Traits() policy.Traits                   { return r.Has }
func (r Rule) Decide(policy.Situation) policy.Decision { return policy.Decision{} }
func (r Rule) Hold(p policy.Page, m policy.Moment) bool {
	return r.Holds != nil && r.Holds(p, m.Pass)
}
func (r Rule) Release(p policy.Page, m policy.Moment) bool {
	return r.Releases != nil && r.Releases(p, m.Pass)
}
