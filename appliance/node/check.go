package node

import "bumpless/appliance/config"

// WaitingPeriod says what the site's waiting period consists of; the error
// lists each inequality of its times that does not hold. Run checks the same.
func WaitingPeriod(s config.Site) (string, error) {
	t := timing(s.Timing)
	return t.ExplainWaitingPeriod(), t.Validate()
}

// WaitingPeriodS is the waiting period in seconds.
func WaitingPeriodS(s config.Site) float64 { return timing(s.Timing).WaitingPeriod().Seconds() }
