package main

import (
	"slices"
	"time"

	"bumpless/appliance/testbed/pair"
)

// check looks at the guest from outside, for as long as it takes it to verify its
// memory: who is heard on the bus, what it finds, who has locked its disk.
func (s *switchover) check() error {
	h, settled := s.h, time.Now()
	var err error
	if s.row.CorruptPages, err = h.Verify(); err != nil {
		return err
	}
	last, _ := h.Observer.Last(h.Settings.GocbRef) // Verify has seen it
	s.row.CorruptBlocks = uint64(last.Report.DiskCorrupt) - h.corruptBlocks
	h.corruptBlocks += s.row.CorruptBlocks
	s.row.Copies = max(s.row.Copies, h.Observer.Between(h.Settings.GocbRef, s.began, time.Now()).CopiesMax())
	s.row.BlackoutMs = milliseconds(h.Blackout(s.from, s.began, settled))
	s.row.LockedAt, err = s.lockedAt()
	return err
}

// lockedAt is the host whose copy alone holds the disk's lock.
func (s *switchover) lockedAt() (string, error) {
	pids, err := lockers(s.h.disk)
	if err != nil || len(pids) == 0 {
		return "", err
	}
	for _, host := range pair.Hosts {
		copies, err := s.h.Runners[host].Find()
		if err != nil {
			return "", err
		}
		for _, c := range copies {
			if slices.Equal(pids, []int{c.PID}) {
				return host, nil
			}
		}
	}
	return "others", nil
}
