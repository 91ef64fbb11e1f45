package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"bumpless/ha/core"
	"bumpless/watchdog"
	"bumpless/watchdog/dev"
)

// opener opens the device, which may pet it: not after that time (0: no limit).
// idle says that no guest runs here, so that a device that cannot be used may
// be disarmed.
type opener func(notAfter time.Duration, idle bool) (dev.Device, error)

// petting carries out the newest order on a goroutine of its own, since a
// device may block. Orders do not queue: only the newest counts.
//
//	no device --the first order to pet, or no guest at start-up--> open
//	open --pet--> petted --the device does not take a pet--> broken, no device
//	broken --a pet is taken again--> petted
//
// A host that never petted starts no guest; a broken one asks for no lease, so
// that its guests are killed in time even if its device was never armed.
type petting struct {
	open   opener     // nil: this host has no watchdog
	device dev.Device // nil until it is first needed
	policy watchdog.Policy
	log    *slog.Logger
	wake   chan struct{}
	first  chan struct{} // closed by the first pet

	mu     sync.Mutex
	newest watchdog.Order
	beats  map[string]time.Duration
	broken error  // of the last try, nil when the device took the pet
	said   string // why it was withheld last, "" when it was petted
	told   bool   // something was said
}

func newPetting(open opener, t core.Timing, log *slog.Logger) *petting {
	return &petting{open: open, log: log, wake: make(chan struct{}, 1), first: make(chan struct{}), beats: map[string]time.Duration{},
		// The loop gives an order on each of its ticks; half the timeout is
		// what a healthy host never takes.
		policy: watchdog.Policy{OrderAge: t.WatchdogTimeout / 2, BeatAge: map[string]time.Duration{"loop": t.WatchdogTimeout / 2}}}
}

// openIdle opens the device on a host without guests, before run.
func (p *petting) openIdle() (err error) {
	if p.open == nil {
		return nil
	}
	p.device, err = p.open(0, true)
	return err
}

// mayStart says why this host may start no guest: its watchdog must have taken
// a pet, which is waited for as long as a healthy daemon may take to order one.
func (p *petting) mayStart(ctx context.Context) error {
	if p.open == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.policy.OrderAge)
	defer cancel()
	select {
	case <-p.first:
		return p.trouble()
	case <-ctx.Done():
	}
	return errors.Join(errors.New("this host's watchdog is not armed: nothing would stop the guest when the host hangs"), p.trouble())
}

// trouble is the error of the last try to pet, or nil.
func (p *petting) trouble() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken
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
		p.once()
	}
}

// once carries out the newest order.
func (p *petting) once() {
	d, limit := p.decide()
	if d.Pet && p.open != nil {
		d = p.tryOn(d, limit)
	}
	p.say(d.Why)
}

// decide looks at the clock last: the order may have waited for the device.
func (p *petting) decide() (d watchdog.Decision, limit time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.policy.Decide(now(), p.newest, p.beats), p.newest.NotAfter
}

// tryOn pets the device, and opens it first when it is not open.
func (p *petting) tryOn(d watchdog.Decision, limit time.Duration) watchdog.Decision {
	var err error
	if p.device == nil {
		if p.device, err = p.open(limit, false); err == nil {
			d, _ = p.decide() // opening took its time
		}
	}
	if err == nil && d.Pet {
		err = p.device.Pet()
	}
	if err != nil {
		d = watchdog.Decision{Why: "the device does not take it, this host will be reset: " + err.Error()}
		p.letGo()
	}
	p.note(d.Pet, err)
	return d
}

// letGo of a device that failed: the next order opens it again.
func (p *petting) letGo() {
	if p.device != nil {
		_ = p.device.Close() // it is broken already
		p.device = nil
	}
}

func (p *petting) note(petted bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = err
	if !petted {
		return
	}
	select {
	case <-p.first:
	default:
		close(p.first)
	}
}

// say logs a change once.
func (p *petting) say(why string) {
	if p.told && why == p.said {
		return
	}
	p.told, p.said = true, why
	if why == "" {
		p.log.Info("the watchdog is petted")
		return
	}
	p.log.Warn("the watchdog is not petted", "why", why)
}
