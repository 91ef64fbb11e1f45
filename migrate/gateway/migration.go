package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bumpless/migrate/qmp"
	"bumpless/migrate/stream"
)

// This file is what a source says to its QEMU about the migration that it reads:
// whether there may be one, how, its begin, and its end where nobody was moved.

func (s *source) checkGuest(ctx context.Context) error {
	var status struct {
		Status string `json:"status"`
	}
	if err := s.qemu.Execute(ctx, "query-status", nil, &status); err != nil {
		return err
	}
	if status.Status != "running" {
		return fmt.Errorf("the guest is %q: only a running guest is moved", status.Status)
	}
	var migration struct {
		Status string `json:"status"`
	}
	if err := s.qemu.Execute(ctx, "query-migrate", nil, &migration); err != nil {
		return err
	}
	switch migration.Status {
	case "", "none", "completed", "failed", "cancelled":
		return nil
	}
	return fmt.Errorf("a migration is %q already: cancel it first", migration.Status)
}

// configure QEMU's migration. What QEMU's own switchover would decide is set out of
// reach: facts and figures are in the package comment of stream and in the design.
func (s *source) configure(ctx context.Context) error {
	if err := configureMigration(ctx, s.qemu, map[string]bool{
		"return-path": true, "events": true, "switchover-ack": true,
		"xbzrle": false, "multifd": false, "auto-converge": false, "postcopy-ram": false,
		// A mirror must be ended between the guest's stop and QEMU's switchover.
		"pause-before-switchover": len(s.cfg.LocalDisks) > 0,
	}); err != nil {
		return err
	}
	parameters := map[string]any{
		"max-bandwidth": int64(20e9), "avail-switchover-bandwidth": int64(1e12), "downtime-limit": 2000,
	}
	return s.qemu.Execute(ctx, "migrate-set-parameters", parameters, nil)
}

// startMigration makes QEMU migrate into our end of a socketpair.
func (s *source) startMigration(ctx context.Context) error {
	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	s.pipe = ours
	err = s.qemu.SendFD(ctx, "bumpless", int(theirs.Fd()))
	theirs.Close()
	if err == nil {
		err = s.qemu.Execute(ctx, "migrate", map[string]string{"uri": "fd:bumpless"}, nil)
	}
	if err != nil {
		ours.Close()
	}
	return err
}

func configureMigration(ctx context.Context, q *qmp.Client, capabilities map[string]bool) error {
	var list []map[string]any
	for name, on := range capabilities {
		list = append(list, map[string]any{"capability": name, "state": on})
	}
	return q.Execute(ctx, "migrate-set-capabilities", map[string]any{"capabilities": list}, nil)
}

// cancelMigration ends QEMU's migration; the guest's state is not changed.
func (s *source) cancelMigration(ctx context.Context) error {
	if err := s.qemu.Execute(ctx, "migrate_cancel", nil, nil); err != nil {
		return fmt.Errorf("cancel the migration: %w", err)
	}
	for {
		var migration struct {
			Status string `json:"status"`
		}
		if err := s.qemu.Execute(ctx, "query-migrate", nil, &migration); err != nil {
			return fmt.Errorf("cancel the migration: %w", err)
		}
		switch migration.Status {
		case "cancelled", "failed", "", "none":
			return nil
		case "completed":
			return errors.New("cancel the migration: QEMU says that it completed")
		}
		time.Sleep(time.Millisecond)
	}
}

// answerPing answers QEMU's PING as a destination would: the real one's answer
// is not waited for.
func (s *source) answerPing(raw []byte) error {
	if len(raw) < 9 {
		return errors.New("QEMU stream: PING without its value")
	}
	return stream.WriteReturn(s.pipe, stream.ReturnMessage{Type: stream.ReturnPong, Data: raw[5:9]})
}
