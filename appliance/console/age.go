package console

import (
	"fmt"

	"bumpless/appliance/api"
)

// age is a warning that what a host knows of the site may be old, "" when it hears
// from a leader. A host that is cut off has nothing newer, and does not know it.
func age(s api.Status) string {
	switch {
	case s.Index == 0 && s.Leader == "":
		return "the site is not known yet: no leader"
	case s.Index == 0:
		return fmt.Sprintf("the site is not known yet: %s leads, and %s has its log still to come", s.Leader, s.Host)
	case s.Leader == "":
		return fmt.Sprintf("no leader is known: what follows is as of log entry %d and may be old", s.Index)
	}
	return ""
}

// answerAsOf is answer with the warning before it. There is nothing to print of a
// site that is not known.
func (v *verbs) answerAsOf(command string, s api.Status, kind string, value any, print func()) error {
	if v.json {
		return v.screen.EmitAsOf(command, s, kind, value)
	}
	if warning := age(s); warning != "" {
		v.screen.Printf("%s\n", warning)
	}
	if s.Index > 0 {
		print()
	}
	return nil
}
