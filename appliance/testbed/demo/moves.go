package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"bumpless/appliance/api"
)

// afterwards is how long after the end of a move a gap still counts as its
// blackout: the guest's caches are cold.
const afterwards = 2 * time.Second

// takeMoves adds every move that the site's log knows and the result does not:
// a drain that was rolled back once moves the guest at its next try, and both
// tries count.
func (s *story) takeMoves(reason string, corrupt uint64) error {
	events, err := s.cluster.Client(hostB).Events(s.ctx, api.EventsRequest{})
	if err != nil {
		return err
	}
	before := len(s.result.Moves)
	for _, e := range events {
		if e.Move == "" || s.taken[e.Move] {
			continue
		}
		s.taken[e.Move] = true
		m, err := s.measure(e.Move)
		if err != nil {
			return err
		}
		m.Reason, m.CorruptPages = reason, corrupt
		s.result.Moves = append(s.result.Moves, m)
		s.say("%s: blackout %.1f ms of %d ms, as the observer saw it", m.Outcome, m.BlackoutMs, m.BudgetMs)
	}
	if len(s.result.Moves) == before {
		return errors.New("the site's log knows of no new move")
	}
	return nil
}

// figures are what the source's gateway measured.
type figures struct {
	Policy      string  `json:"policy"`
	BudgetMs    int     `json:"budget_ms"`
	StopMs      float64 `json:"stop_ms"`
	EstimateMs  float64 `json:"estimate_ms"`
	TotalS      float64 `json:"total_s"`
	RAMBytes    int64   `json:"ram_bytes"`
	DigestEqual bool    `json:"digest_equal"`
}

// measure replays what the daemons kept of a move, for its gateway's figures
// and its times, and asks the observer and the ports about those times.
func (s *story) measure(id string) (Move, error) {
	ctx, cancel := context.WithTimeout(s.ctx, 30*time.Second)
	defer cancel()
	var m Move
	var f figures
	var began, ended time.Time
	var raw json.RawMessage
	err := s.cluster.Client(hostB).Progress(ctx, api.ProgressRequest{Move: id}, func(p api.Progress) {
		s.record.progress(p)
		if len(p.Result) > 0 {
			raw = p.Result
		}
		if p.Final { // its time is that of the question
			m.Guest, m.From, m.To, m.Outcome = p.Guest, p.From, p.To, p.Outcome
			return
		}
		at := time.UnixMilli(p.AtMs)
		if began.IsZero() || at.Before(began) {
			began = at
		}
		if at.After(ended) {
			ended = at
		}
	})
	if err != nil {
		return m, fmt.Errorf("follow move %s: %w", id, err)
	}
	if len(raw) == 0 || began.IsZero() {
		return m, fmt.Errorf("move %s left no figures", id)
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return m, fmt.Errorf("figures of move %s: %w", id, err)
	}
	m.Policy, m.BudgetMs, m.StopMs, m.EstimateMs, m.TotalS = f.Policy, f.BudgetMs, f.StopMs, f.EstimateMs, f.TotalS
	m.RAMBytes, m.DigestEqual = f.RAMBytes, f.DigestEqual
	m.LinkBytes = s.record.sent(m.From, began, ended)
	seen := s.cluster.Observer.Between(s.settings.GocbRef, began, ended.Add(afterwards))
	gap, _ := seen.LargestGap()
	m.BlackoutMs = max(0, (gap-s.settings.GoosePeriod).Seconds()*1000)
	if n := seen.CopiesMax(); n != 1 {
		return m, fmt.Errorf("%d copies of the guest ran at the same moment during move %s", n, id)
	}
	return m, nil
}
