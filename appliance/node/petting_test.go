package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"bumpless/ha/core"
	"bumpless/watchdog"
	"bumpless/watchdog/dev"
)

// fakeDevice counts what is done to a watchdog.
type fakeDevice struct {
	opened, pets, closed int
	limit                time.Duration // of the last open
	idle                 bool
	openErr, petErr      error
	opening              func()
}

func (d *fakeDevice) open(notAfter time.Duration, idle bool) (dev.Device, error) {
	d.opened++
	d.limit, d.idle = notAfter, idle
	if d.opening != nil {
		d.opening()
	}
	if d.openErr != nil {
		return nil, d.openErr
	}
	return d, nil
}

func (d *fakeDevice) Pet() error {
	if d.petErr == nil {
		d.pets++
	}
	return d.petErr
}

func (d *fakeDevice) Close() error { d.closed++; return nil }

func newTestPetting(d *fakeDevice, log *bytes.Buffer) *petting {
	p := newPetting(d.open, core.DefaultTiming(), slog.New(slog.NewTextHandler(log, nil)))
	p.beat("loop")()
	return p
}

// give carries an order out.
func give(p *petting, o watchdog.Order) {
	o.At = now()
	p.order(o)
	p.once()
}

func TestTheDeviceIsOpenedByTheFirstOrderToPetAndNotBefore(t *testing.T) {
	var d fakeDevice
	p := newTestPetting(&d, new(bytes.Buffer))
	give(p, watchdog.Order{Why: "guests are alive and no lease has been granted yet"})
	if d.opened != 0 {
		t.Fatalf("opened = %d by a daemon without the right to run guests; want 0: opening pets", d.opened)
	}
	limit := now() + time.Minute
	give(p, watchdog.Order{Pet: true, NotAfter: limit})
	give(p, watchdog.Order{Pet: true, NotAfter: limit})
	if d.opened != 1 || d.pets != 2 || d.limit != limit || d.idle {
		t.Errorf("opened %d, pets %d, limit %v, idle %v; want opened once until %v and petted twice", d.opened, d.pets, d.limit, d.idle, limit)
	}
}

func TestAnOrderThatRanOutWhileTheDeviceWasOpenedIsNotCarriedOut(t *testing.T) {
	d := fakeDevice{opening: func() { time.Sleep(30 * time.Millisecond) }}
	p := newTestPetting(&d, new(bytes.Buffer))
	give(p, watchdog.Order{Pet: true, NotAfter: now() + 10*time.Millisecond})
	if d.opened != 1 || d.pets != 0 {
		t.Errorf("opened %d, pets %d; want opened and not petted", d.opened, d.pets)
	}
}

func TestAHungLoopIsNotPetted(t *testing.T) {
	var d fakeDevice
	p := newTestPetting(&d, new(bytes.Buffer))
	p.beats["loop"] = now() - p.policy.BeatAge["loop"] - time.Second
	give(p, watchdog.Order{Pet: true})
	if d.pets != 0 {
		t.Errorf("pets = %d with a loop that gives no sign of life; want 0", d.pets)
	}
}

func TestADeviceThatFailsIsOpenedAgainAndTheHostAsksForNoLeaseMeanwhile(t *testing.T) {
	d := fakeDevice{petErr: errors.New("input/output error")}
	n := newTestNode(t) // without a log: asking for a lease would crash
	n.watchdog = newTestPetting(&d, new(bytes.Buffer))
	give(n.watchdog, watchdog.Order{Pet: true})
	if d.closed != 1 || n.watchdog.trouble() == nil {
		t.Fatalf("closed %d, trouble %v; want the device let go and the error kept", d.closed, n.watchdog.trouble())
	}
	n.askLease(core.AskLease{AskedAt: now()})
	if len(n.loop.grants) != 0 {
		t.Error("a host without a working watchdog has a lease")
	}
	d.petErr = nil
	give(n.watchdog, watchdog.Order{Pet: true})
	if d.opened != 2 || d.pets != 1 || n.watchdog.trouble() != nil {
		t.Errorf("opened %d, pets %d, trouble %v; want it opened again and petted", d.opened, d.pets, n.watchdog.trouble())
	}
}

func TestNoGuestIsStartedBeforeTheFirstPet(t *testing.T) {
	var d fakeDevice
	p := newTestPetting(&d, new(bytes.Buffer))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.mayStart(ctx); err == nil || !strings.Contains(err.Error(), "not armed") {
		t.Errorf("mayStart() before the first pet = %v; want that the watchdog is not armed", err)
	}
	waiting := make(chan error, 1)
	go func() { waiting <- p.mayStart(context.Background()) }()
	give(p, watchdog.Order{Pet: true})
	if err := <-waiting; err != nil {
		t.Errorf("mayStart() that waited for the first pet = %v; want nil", err)
	}
	d.petErr = errors.New("input/output error")
	give(p, watchdog.Order{Pet: true})
	if p.mayStart(context.Background()) == nil {
		t.Error("mayStart() after a pet that failed = nil; want an error")
	}
}

func TestAHostWithoutAWatchdogIsNeverInTrouble(t *testing.T) {
	p := newPetting(nil, core.DefaultTiming(), slog.New(slog.DiscardHandler))
	p.beat("loop")()
	give(p, watchdog.Order{Pet: true})
	if err := errors.Join(p.openIdle(), p.mayStart(context.Background()), p.trouble()); err != nil {
		t.Errorf("a witness without a watchdog: %v; want nil", err)
	}
}

func TestAnIdleHostOpensItsWatchdogAtStartUpAndSaysSo(t *testing.T) {
	d := fakeDevice{openErr: errors.New("no such device")}
	p := newTestPetting(&d, new(bytes.Buffer))
	if err := p.openIdle(); err == nil || !d.idle {
		t.Errorf("openIdle() = %v, idle %v; want the device's error, and that the host was said to be idle", err, d.idle)
	}
}

func TestWhyTheWatchdogIsNotPettedIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	d := fakeDevice{openErr: errors.New("no such device")}
	p := newTestPetting(&d, &log)
	for range 3 {
		give(p, watchdog.Order{Pet: true})
	}
	d.openErr = nil
	for range 3 {
		give(p, watchdog.Order{Pet: true})
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "no such device") || !strings.Contains(lines[1], "is petted") {
		t.Errorf("log = %q; want the trouble once, then that it is petted", lines)
	}
}
