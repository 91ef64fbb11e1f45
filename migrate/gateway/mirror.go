package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"bumpless/migrate/link"
	"bumpless/migrate/qmp"
)

// mirrors are the local disks at the source.
type mirrors struct {
	nodes    []string
	tunnels  []*tunnel
	meter    link.Meter  // not the memory's: its rate is measured apart
	finished atomic.Bool // the tunnels may end: the mirrors are over, one way or the other

	watch *watch // nil: nobody looks after them
}

// watch over the mirrors, by a goroutine of its own.
type watch struct{ enough, ended chan struct{} }

const (
	// mirrorBytes in flight: `stop` waits for them. 1 MiB is 40 ms at 200 Mbit/s,
	// QEMU's own 16 MiB would be 0.7 s.
	mirrorBytes = 1 << 20
	// mirrorGrain is what one written byte costs on the link.
	mirrorGrain = 16 << 10
	// What the mirrors have still to send when the guest is stopped may take this
	// part of the budget, or is this little where the link was not measured.
	mirrorShare = 8
	mirrorLeft  = 256 << 10
	// catchUpWait is for the mirrors to come that near, before the daemon is asked
	// for the stop; lastLookWait after it, within what its answer is good for.
	catchUpWait  = 2 * time.Second
	lastLookWait = 100 * time.Millisecond
	// mirrorPoll is how often the mirrors are looked at while the guest runs,
	// handOverPoll while it is stopped: one look takes 0.1 ms.
	mirrorPoll   = 200 * time.Millisecond
	handOverPoll = 300 * time.Microsecond
	catchUpPoll  = 10 * time.Millisecond
	// sweepWait bounds the removal of what a move has left in QEMU.
	sweepWait = 5 * time.Second
)

// connectDisks makes a connection for each disk, before the destination answers
// HELLO. They go over the addresses that the memory's have reached.
func (s *source) connectDisks(ctx context.Context, config *tls.Config, addresses []string) error {
	n := len(s.cfg.LocalDisks)
	if n == 0 {
		return nil
	}
	s.mirrors.nodes = s.cfg.LocalDisks
	to, err := dialAll(addresses, n)
	if err != nil {
		return err
	}
	raws := to.conns
	if len(raws) < n {
		for _, raw := range raws {
			raw.Close()
		}
		return fmt.Errorf("connect the disks: %d of %d connections", len(raws), n)
	}
	conns, err := introduceAll(ctx, raws, identity{config, s.cfg.Peer, &s.mirrors.meter}, func(i int) hello {
		return hello{Move: s.cfg.Move, Guest: s.cfg.Guest, Total: s.cfg.Connections, Disk: i + 1, Disks: n}
	})
	if err != nil {
		return fmt.Errorf("connect the disks: %w", err)
	}
	for i, c := range conns {
		t, err := newTunnel(c, raws[i])
		if err != nil {
			for _, c := range conns[i:] {
				c.Cut()
			}
			return err
		}
		s.mirrors.tunnels = append(s.mirrors.tunnels, t)
	}
	return nil
}

// conns of the disks, which are paced with the memory's.
func (m *mirrors) conns() (list []link.Conn) {
	for _, t := range m.tunnels {
		list = append(list, t.conn)
	}
	return list
}

// mirrorDisks begins to mirror every local disk and returns when all are in
// step. It takes as long as the link needs for their content.
func (s *source) mirrorDisks(ctx context.Context) error {
	if len(s.mirrors.nodes) == 0 {
		return nil
	}
	s.phase(Mirroring)
	if err := s.sweep(ctx); err != nil { // of a gateway that was killed
		return err
	}
	if err := s.attachTargets(ctx); err != nil {
		return err
	}
	for _, node := range s.mirrors.nodes {
		// A job stays when it has ended, so that nobody can miss how.
		mirror := map[string]any{"job-id": mirrorJob(node), "device": node, "target": mirrorTarget(node), "sync": "full", "copy-mode": "background",
			"buf-size": mirrorBytes, "granularity": mirrorGrain, "on-source-error": "report", "on-target-error": "report", "auto-dismiss": false}
		if err := s.qemu.Execute(ctx, "blockdev-mirror", mirror, nil); err != nil {
			return err
		}
	}
	err := every(ctx, mirrorPoll, "the local disks were being mirrored", func() (bool, error) {
		select {
		case f := <-s.frames:
			return false, unexpected(f)
		case err := <-s.broken:
			return false, s.why(err)
		default:
		}
		all, _, err := s.mirrors.inStep(ctx, s.qemu)
		return all, err
	})
	if err != nil {
		return s.rather(err)
	}
	return s.checkGuest(ctx) // it took long: somebody may have paused it
}

// attachTargets connects QEMU to the destination's images, through this process.
func (s *source) attachTargets(ctx context.Context) error {
	path := filepath.Join(filepath.Dir(s.cfg.QMP), "nbd.sock")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("listen for the mirrors: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("listen for the mirrors: %w", err)
	}
	defer l.Close() // removes the socket too
	for i, node := range s.mirrors.nodes {
		go s.serveMirror(l, node, s.mirrors.tunnels[i])
		target := map[string]any{"driver": "nbd", "node-name": mirrorTarget(node), "export": node,
			"server": map[string]string{"type": "unix", "path": path}, "cache": map[string]bool{"direct": true}, "discard": "unmap"}
		if err := s.qemu.Execute(ctx, "blockdev-add", target, nil); err != nil {
			return s.rather(err)
		}
		if err := s.sameSize(ctx, node); err != nil {
			return err
		}
	}
	return nil
}

// serveMirror takes QEMU's connection for one disk and carries it. An end that
// was not meant is one of the link's.
func (s *source) serveMirror(l net.Listener, node string, t *tunnel) {
	local, err := l.Accept()
	if err == nil {
		err = brokenLink{t.carryRequests(local)}
	}
	if s.mirrors.finished.Load() {
		return
	}
	s.fail(fmt.Errorf("the mirror of disk %s broke: %w", node, err))
}

// fail reports why the move cannot go on; the first one counts.
func (s *source) fail(err error) {
	select {
	case s.broken <- err:
	default:
	}
}

// sameSize refuses a target of another size: QEMU takes a larger one, and the
// guest's disk would have grown by a move.
func (s *source) sameSize(ctx context.Context, node string) error {
	nodes, err := s.blockNodes(ctx)
	if err != nil {
		return err
	}
	here, there := nodes[node], nodes[mirrorTarget(node)]
	if here != there {
		return fmt.Errorf("disk %s has %d bytes, the destination's image %d: correct size_mib in the site file", node, here, there)
	}
	return nil
}

// blockNodes are the sizes of QEMU's block nodes by name.
func (s *source) blockNodes(ctx context.Context) (map[string]int64, error) {
	var list []struct {
		Name  string `json:"node-name"`
		Image struct {
			Size int64 `json:"virtual-size"`
		} `json:"image"`
	}
	if err := s.qemu.Execute(ctx, "query-named-block-nodes", map[string]bool{"flat": true}, &list); err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	for _, n := range list {
		sizes[n.Name] = n.Image.Size
	}
	return sizes, nil
}

// job is what QEMU says of one.
type job struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Error  string `json:"error"`
	Done   int64  `json:"current-progress"` // bytes
	Total  int64  `json:"total-progress"`
}

func jobsOf(ctx context.Context, q *qmp.Client) (map[string]job, error) {
	var list []job
	if err := q.Execute(ctx, "query-jobs", nil, &list); err != nil {
		return nil, err
	}
	jobs := map[string]job{}
	for _, j := range list {
		jobs[j.ID] = j
	}
	return jobs, nil
}

// inStep tells whether every mirror is, and how many bytes are left to send;
// one that has ended is an error.
func (m *mirrors) inStep(ctx context.Context, q *qmp.Client) (all bool, left int64, err error) {
	jobs, err := jobsOf(ctx, q)
	if err != nil {
		return false, 0, err
	}
	all = true
	for _, node := range m.nodes {
		j := jobs[mirrorJob(node)]
		left += j.Total - j.Done
		switch j.Status {
		case "ready":
		case "created", "running", "paused", "standby":
			all = false
		default:
			return false, left, fmt.Errorf("the mirror of disk %s has ended (%s): %s", node, j.Status, j.Error)
		}
	}
	return all, left, nil
}

// startWatching looks after the mirrors, and after the guest, while memory is
// being sent. QEMU waits for the mirrors' end before its switchover, so that a
// guest that somebody else has paused would not be noticed by the stream's end.
func (s *source) startWatching() {
	if len(s.mirrors.nodes) > 0 {
		s.mirrors.watch = &watch{make(chan struct{}), make(chan struct{})}
		go s.watchMirrors(s.qemu, *s.mirrors.watch)
	}
}

func (s *source) watchMirrors(q *qmp.Client, w watch) {
	defer close(w.ended)
	ticker := time.NewTicker(mirrorPoll)
	defer ticker.Stop()
	for {
		select {
		case <-w.enough:
			return
		case <-ticker.C:
		}
		if err := s.lookAtMirrors(q); err != nil {
			if !s.mirrors.finished.Load() {
				s.fail(err)
			}
			return
		}
	}
}

func (s *source) lookAtMirrors(q *qmp.Client) error {
	// Not the move's context: one that ends would close the monitor connection.
	ctx, cancel := context.WithTimeout(context.Background(), qmpTimeout)
	defer cancel()
	if _, _, err := s.mirrors.inStep(ctx, q); err != nil {
		return err
	}
	var guest struct {
		Status string `json:"status"`
	}
	if err := q.Execute(ctx, "query-status", nil, &guest); err != nil {
		return err
	}
	if guest.Status != "running" {
		return fmt.Errorf("the guest is %q: somebody else has paused it", guest.Status)
	}
	return nil
}

// stopWatching returns when the monitor is this goroutine's alone.
func (s *source) stopWatching() {
	if w := s.mirrors.watch; w != nil {
		close(w.enough)
		<-w.ended
		s.mirrors.watch = nil
	}
}

// caughtUp tells whether the guest may be stopped as far as its disks go: what
// the mirrors have left to send must be little. It waits for that.
func (s *source) caughtUp(ctx context.Context, wait time.Duration) bool {
	if len(s.mirrors.nodes) == 0 {
		return true
	}
	s.stopWatching() // it would take our own stop for somebody else's
	allowed := max(int64(s.linkBytesPerS()*s.stopLimit().Seconds()/mirrorShare), mirrorLeft)
	end, left := time.Now().Add(wait), int64(0)
	err := every(ctx, catchUpPoll, "the mirrors were catching up", func() (bool, error) {
		all, now, err := s.mirrors.inStep(ctx, s.qemu)
		left = now
		near := all && left <= allowed
		if err == nil && !near && time.Now().After(end) {
			err = fmt.Errorf("the guest writes to its disks faster than the link takes: %d KiB are left, %d KiB fit the budget", left>>10, allowed>>10)
		}
		return near, err
	})
	if err != nil {
		s.giveUp(Failed, s.rather(err))
	}
	return err == nil
}

// handOver ends the mirrors of a stopped guest and lets QEMU, which waits for
// that, go on: both images are equal from here on, and nobody writes to either.
func (s *source) handOver(ctx context.Context) error {
	if len(s.mirrors.nodes) == 0 {
		return nil
	}
	if all, _, err := s.mirrors.inStep(ctx, s.qemu); err != nil || !all {
		return errors.New(orText(err, "the mirror of a disk is not in step any more"))
	}
	s.mirrors.finished.Store(true)
	for _, node := range s.mirrors.nodes {
		// Of a mirror that is in step this is the regular end: it sends what is
		// left, flushes the target and leaves the source's disk in use.
		if err := s.qemu.Execute(ctx, "block-job-cancel", map[string]any{"device": mirrorJob(node)}, nil); err != nil {
			return err
		}
	}
	for _, node := range s.mirrors.nodes {
		if err := s.endMirror(ctx, node); err != nil {
			return err
		}
	}
	err := every(ctx, handOverPoll, "QEMU was on its way to the switchover", func() (bool, error) {
		var migration struct {
			Status string `json:"status"`
		}
		err := s.qemu.Execute(ctx, "query-migrate", nil, &migration)
		if err == nil && (migration.Status == "failed" || migration.Status == "cancelled") {
			err = errors.New("QEMU's migration has " + migration.Status)
		}
		return migration.Status == "pre-switchover", err
	})
	if err != nil {
		return err
	}
	return s.qemu.Execute(ctx, "migrate-continue", map[string]string{"state": "pre-switchover"}, nil)
}

// endMirror waits for the end of one mirror, which must be a good one.
func (s *source) endMirror(ctx context.Context, node string) error {
	err := every(ctx, handOverPoll, "the mirror of disk "+node+" was being ended", func() (bool, error) {
		jobs, err := jobsOf(ctx, s.qemu)
		if err != nil {
			return false, err
		}
		j, there := jobs[mirrorJob(node)]
		if !there || j.Error != "" {
			return false, fmt.Errorf("the mirror of disk %s did not end well: %s", node, j.Error)
		}
		return j.Status == "concluded", nil
	})
	if err != nil {
		return err
	}
	if err := s.qemu.Execute(ctx, "job-dismiss", map[string]string{"id": mirrorJob(node)}, nil); err != nil {
		return err
	}
	return s.qemu.Execute(ctx, "blockdev-del", map[string]string{"node-name": mirrorTarget(node)}, nil)
}

// cutMirrors lets go of the destination's disks at once: QEMU may wait for one
// of them under its big lock, and would not hear a command.
func (s *source) cutMirrors() {
	s.mirrors.finished.Store(true)
	for _, t := range s.mirrors.tunnels {
		t.cut()
	}
}

// removeMirrors takes away what a move that did not succeed has left in QEMU.
// The guest runs on meanwhile; what cannot be removed now the next move removes.
func (s *source) removeMirrors() {
	if len(s.mirrors.nodes) == 0 || s.result.Outcome == Moved || s.result.Outcome == InDoubt {
		return
	}
	s.cutMirrors()
	ctx, cancel := context.WithTimeout(context.Background(), sweepWait)
	defer cancel()
	err := s.sweep(ctx)
	var refused *qmp.Error
	if err == nil || errors.As(err, &refused) {
		return
	}
	// The connection may have been closed by a command that was not answered.
	if fresh, err := qmp.Dial(ctx, s.cfg.QMP); err == nil {
		s.qemu.Close()
		s.qemu = fresh
		_ = s.sweep(ctx)
	}
}

// sweep removes every mirror and its target, whichever move made them.
func (s *source) sweep(ctx context.Context) error {
	err := every(ctx, mirrorPoll/10, "old mirrors were being removed", func() (bool, error) {
		jobs, err := jobsOf(ctx, s.qemu)
		if err != nil {
			return false, err
		}
		left := false
		for id, j := range jobs {
			if !strings.HasPrefix(id, mirrorJob("")) {
				continue
			}
			left = true
			if j.Status == "concluded" {
				err = s.qemu.Execute(ctx, "job-dismiss", map[string]string{"id": id}, nil)
			} else {
				err = s.qemu.Execute(ctx, "block-job-cancel", map[string]any{"device": id, "force": true}, nil)
			}
			var refused *qmp.Error
			if err != nil && !errors.As(err, &refused) { // it may have changed since; the next look tells
				return false, err
			}
		}
		return !left, nil
	})
	if err != nil {
		return err
	}
	nodes, err := s.blockNodes(ctx)
	if err != nil {
		return err
	}
	for name := range nodes {
		if strings.HasPrefix(name, mirrorTarget("")) {
			if err := s.qemu.Execute(ctx, "blockdev-del", map[string]string{"node-name": name}, nil); err != nil {
				return err
			}
		}
	}
	return nil
}
