package node

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"bumpless/appliance/config"
	"bumpless/ha/core"
	"bumpless/watchdog"
	"bumpless/watchdog/dev"
)

// petting carries out the newest order on a goroutine of its own, since a
// device may block. Orders do not queue: only the newest counts.
type petting struct {
	device dev.Device // nil: this host has none
	policy watchdog.Policy
	log    *slog.Logger
	wake   chan struct{}

	mu     sync.Mutex
	newest watchdog.Order
	beats  map[string]time.Duration
	said   string // why it was withheld last, "" when it was petted
}

func newPetting(device dev.Device, t core.Timing, log *slog.Logger) *petting {
	return &petting{device: device, log: log, wake: make(chan struct{}, 1), beats: map[string]time.Duration{},
		// The loop gives an order on each of its ticks; half the timeout is
		// what a healthy host never takes.
		policy: watchdog.Policy{OrderAge: t.WatchdogTimeout / 2, BeatAge: map[string]time.Duration{"loop": t.WatchdogTimeout / 2}}}
}

func openWatchdog(w config.Watchdog, timeout time.Duration) (dev.Device, error) {
	switch w.Kind {
	case config.WatchdogDevice:
		d, err := dev.Open(w.Path, timeout)
		if err != nil {
			return nil, err
		}
		if real, err := d.Timeout(); err == nil && real > timeout {
			return d, fmt.Errorf("watchdog %s: the driver uses %v, timing.watchdog_timeout_ms says %v: the waiting period would be too short; raise it on every host", w.Path, real, timeout)
		}
		return d, nil
	case config.WatchdogPowerStrip:
		return dev.OpenPowerStrip(w.Path, timeout)
	}
	return nil, nil
}

// beat returns the function by which a part of the daemon says that it lives.
func (p *petting) beat(part string) func() {
	return func() {
		p.mu.Lock()
		p.beats[part] = now()
		p.mu.Unlock()
	}
}

func (p *petting) order(o watchdog.Order) {
	p.mu.Lock()
	p.newest = o
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default: // already awake; it will read the newest order
	}
}

func (p *petting) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		if err := p.once(); err != nil {
			p.say("the device does not take it: this host will be reset: " + err.Error())
		}
	}
}

func (p *petting) once() error {
	p.mu.Lock()
	// The order may have waited for the device: look at the clock last.
	d := p.policy.Decide(now(), p.newest, p.beats)
	p.mu.Unlock()
	p.say(d.Why)
	if !d.Pet || p.device == nil {
		return nil
	}
	return p.device.Pet()
}

// say logs a change once.
func (p *petting) say(why string) {
	if why == p.said {
		return
	}
	p.said = why
	if why == "" {
		p.log.Info("the watchdog is petted")
		return
	}
	p.log.Warn("the watchdog is not petted", "why", why)
}
