package pair

import (
	"errors"
	"fmt"
	"sort"
	"time"

	"bumpless/appliance/testbed"
)

// Verify waits until the guest has passed over its memory twice: the second
// pass that ends has begun here and now. It returns the pages that it has newly
// found corrupt. A guest that rebooted or went silent is an error.
func (p *Pair) Verify() (uint64, error) {
	from := time.Now()
	here := func(s testbed.Sighting) bool { return s.At.After(from) && s.Source == p.At }
	first, err := p.Observer.Wait(p.Settings.GocbRef, VerifyWait, here)
	if err != nil {
		return 0, err
	}
	s, err := p.Observer.Wait(p.Settings.GocbRef, VerifyWait, func(s testbed.Sighting) bool {
		return here(s) && (s.Report.VerifyPasses >= first.Report.VerifyPasses+2 || s.Report.BootID != p.BootID)
	})
	if err != nil {
		return 0, err
	}
	if s.Report.BootID != p.BootID {
		return 0, errors.New("the guest has rebooted")
	}
	if failed := s.Report.LoadFailures - p.failures; failed > 0 {
		p.failures += failed
		return 0, fmt.Errorf("the guest's load failed %d times; console: %s", failed, p.Console())
	}
	found := s.Report.CorruptPages - p.corrupt
	p.corrupt += found
	return found, nil
}

// Afterglow: the guest's code is translated anew for that long at the
// destination (TCG), and what it takes counts as blackout.
const Afterglow = time.Second

// Blackout since began of a guest that was on the host from: the largest gap
// until a second after the guest came over, or after end if it did not, less the
// period.
func (p *Pair) Blackout(from string, began, end time.Time) time.Duration {
	seen := p.Observer.Between(p.Settings.GocbRef, began, time.Now())
	return blackout(seen, from, end, p.Settings.GoosePeriod)
}

// blackout needs the second after end too: a gap ends with the guest's next
// frame, which is later than the hypervisor's word that it runs on.
func blackout(seen testbed.Sightings, from string, end time.Time, period time.Duration) time.Duration {
	for _, s := range seen {
		if s.Source != from {
			end = s.At
			break
		}
	}
	last := sort.Search(len(seen), func(i int) bool { return seen[i].At.After(end.Add(Afterglow)) })
	gap, _ := seen[:last].LargestGap()
	return max(0, gap-period)
}
