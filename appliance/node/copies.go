package node

import (
	"context"
	"fmt"
	"time"

	"bumpless/ha/core"
)

// Bounds of what a hypervisor is given; each is far above what was seen.
const (
	startTimeout  = 30 * time.Second
	killTimeout   = 10 * time.Second
	resumeTimeout = 5 * time.Second
)

func (n *Node) startGuest(a core.StartGuest) {
	err := n.start(a.Guest, a.Epoch, a.NotAfter, false)
	if err != nil {
		n.log.Error("start guest", "guest", a.Guest, "epoch", a.Epoch, "error", err)
	} else {
		n.log.Info("guest started", "guest", a.Guest, "epoch", a.Epoch)
	}
	n.loop.post(n.ctx, core.GuestStarted{Guest: a.Guest, Epoch: a.Epoch, Err: errorText(err)})
	n.observe()
}

// start creates a copy, unless another process of the guest exists here.
func (n *Node) start(guest string, epoch uint64, notAfter time.Duration, incoming bool) error {
	ctx, cancel := context.WithTimeout(n.ctx, startTimeout)
	defer cancel()
	copies, err := n.hypervisor.Find()
	if err != nil {
		return err
	}
	for _, c := range copies {
		if c.Guest == guest {
			return fmt.Errorf("start guest %s: process %d of epoch %d still exists here", guest, c.PID, c.Epoch)
		}
	}
	if said, err := n.hypervisor.Kill(ctx, guest, epoch-1); err != nil { // only what dead copies left
		return err
	} else if said != "" {
		n.log.Info("the last copy's QEMU had said", "guest", guest, "text", said)
	}
	if err := n.watchdog.mayStart(ctx); err != nil {
		return fmt.Errorf("start guest %s: %w", guest, err)
	}
	if now() > notAfter {
		return fmt.Errorf("start guest %s: the lease ran out while it was prepared", guest)
	}
	return n.hypervisor.Start(ctx, guest, epoch, incoming)
}

func (n *Node) killGuest(a core.KillGuest) {
	ctx, cancel := context.WithTimeout(n.ctx, killTimeout)
	defer cancel()
	n.log.Info("kill guest", "guest", a.Guest, "epoch", a.Epoch, "why", a.Why)
	if _, err := n.hypervisor.Kill(ctx, a.Guest, a.Epoch); err != nil {
		n.log.Error("kill guest", "guest", a.Guest, "error", err)
	}
	n.observe()
}

func (n *Node) resumeSource(a core.ResumeSource) {
	// Every attempt within: afterwards the copy may be on its way to another
	// host again, and `cont` would restart a source that has committed.
	left := min(resumeTimeout, a.NotAfter-now())
	if left <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, left)
	defer cancel()
	n.log.Info("continue the guest", "guest", a.Guest, "epoch", a.Epoch, "move", a.Move)
	if err := n.hypervisor.Continue(ctx, a.Guest, a.Epoch); err != nil {
		n.log.Error("continue the guest", "guest", a.Guest, "error", err)
	}
	n.observe()
}

// observe looks at the processes once and tells core.
func (n *Node) observe() {
	n.observing.Lock()
	defer n.observing.Unlock()
	asked := now()
	ctx, cancel := context.WithTimeout(n.ctx, n.timing.Lease)
	defer cancel()
	copies, err := n.hypervisor.observe(ctx)
	if err != nil {
		n.log.Error("look for guests", "error", err)
		return
	}
	n.loop.post(n.ctx, core.GuestsObserved{Asked: asked, Copies: copies})
}

func (n *Node) observeRegularly() {
	ticker := time.NewTicker(n.timing.Lease / 8)
	defer ticker.Stop()
	for {
		n.observe()
		select {
		case <-n.ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
