package raftlog

import (
	"fmt"
	"io"
	"sync"

	"bumpless/ha/core"

	"github.com/hashicorp/raft"
)

// fsm hands committed entries to core.Apply.
type fsm struct {
	hub *hub

	mu      sync.Mutex
	state   core.State
	applied uint64        // raft index of the newest command in state
	changed chan struct{} // closed and replaced when applied rises
}

func newFSM(h *hub) *fsm {
	return &fsm{hub: h, state: core.NewState(), changed: make(chan struct{})}
}

func (f *fsm) current() core.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

// progress returns the raft index applied and a channel closed at the next one.
func (f *fsm) progress() (uint64, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.applied, f.changed
}

// Apply carries out one committed entry. An entry that cannot be decoded is
// applied as an empty command, which core refuses: every host does the same.
func (f *fsm) Apply(entry *raft.Log) any {
	c, err := core.DecodeCommand(entry.Data)
	f.mu.Lock()
	defer f.mu.Unlock()
	next, result := core.ApplyEntry(f.state, c, entry.Term)
	if err != nil {
		result.Text = err.Error()
	}
	f.set(next, entry.Index)
	return result
}

func (f *fsm) set(s core.State, index uint64) {
	f.state, f.applied = s, index
	close(f.changed)
	f.changed = make(chan struct{})
	f.hub.state(s) // under the lock: subscribers must see states in log order
}

// Snapshot returns the present state, which is a value and needs no copy.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) { return snapshot{f.current()}, nil }

// Restore replaces the state by a snapshot's.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, core.MaxStateBytes+1))
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	s, err := core.DecodeState(b)
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set(s, f.applied)
	return nil
}

type snapshot struct{ state core.State }

func (s snapshot) Persist(sink raft.SnapshotSink) error {
	b, err := s.state.Encode()
	if err == nil {
		_, err = sink.Write(b)
	}
	if err != nil {
		sink.Cancel() // the error of interest is err
		return fmt.Errorf("write snapshot: %w", err)
	}
	return sink.Close()
}

func (snapshot) Release() {}
