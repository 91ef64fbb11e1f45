package testbed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"bumpless/appliance/api"
	"bumpless/appliance/pki"
)

// WitnessHost is the name of the host that only votes.
const WitnessHost = "witness"

// ClusterOptions of a whole appliance on a bed.
type ClusterOptions struct {
	Dir            string // of the hosts' disks, logs and certificates; a short path
	Binary         string // the bumpless program
	Kernel, Initrd string // of the protection guest
	Hosts          []string
	Guests         []GuestOptions
	Timing         Timing
	LinkBitsPerS   int64 // of each LAN port; 0: not shaped
	Policy         string
	MarginMs       int
	WakingMs       int // of the site file
}

// Cluster is a bed whose hosts run the appliance.
type Cluster struct {
	Bed      *Bed
	Observer *Observer

	options  ClusterOptions
	unit     *MergingUnit
	consoles map[string]*Terminal
}

// NewCluster builds the bed, makes the site's certificates and its site file,
// and starts every host's daemon.
func NewCluster(o ClusterOptions) (*Cluster, error) {
	c := &Cluster{options: o, consoles: map[string]*Terminal{}}
	if err := c.build(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) build() error {
	var err error
	if c.Bed, err = New(Options{Hosts: c.options.Hosts, Dir: c.options.Dir, LinkBitsPerS: c.options.LinkBitsPerS}); err != nil {
		return err
	}
	for _, host := range c.options.Hosts {
		if c.consoles[host], err = newTerminal(); err != nil {
			return err
		}
	}
	if err := c.certificates(); err != nil {
		return err
	}
	if err := c.writeHook(); err != nil {
		return err
	}
	if err := os.WriteFile(c.SiteFile(), []byte(c.siteFile()), 0o600); err != nil {
		return fmt.Errorf("write the site file: %w", err)
	}
	if c.Observer, err = NewObserver(nil); err != nil {
		return err
	}
	if len(c.options.Guests) > 0 {
		s := c.options.Guests[0].Settings
		if c.unit, err = NewMergingUnit(s.SvID, s.SvRatePerS); err != nil {
			return err
		}
	}
	for _, host := range c.options.Hosts {
		if err := c.Observer.Watch(host, Port(host, Bus)); err != nil {
			return err
		}
		if err := c.StartDaemon(host); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) certificates() error {
	a, err := pki.Init(c.pkiDir(), "test-bed")
	if err != nil {
		return err
	}
	for i, host := range c.options.Hosts {
		if err := a.Host(host, net.ParseIP(Address(i+1, LANA)), net.ParseIP(Address(i+1, LANB))); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) pkiDir() string { return filepath.Join(c.options.Dir, "pki") }

// SiteFile is the path of the site file, the same seen from every host.
func (c *Cluster) SiteFile() string { return filepath.Join(c.options.Dir, "site.yaml") }

// Console is the operator's end of a host's serial port.
func (c *Cluster) Console(host string) *Terminal { return c.consoles[host] }

const daemonWait = 20 * time.Second

// StartDaemon starts a host's daemon.
func (c *Cluster) StartDaemon(host string) error {
	ctx, cancel := context.WithTimeout(context.Background(), daemonWait)
	defer cancel()
	_, err := c.Bed.Host(host).StartDaemon(ctx, c.options.Binary, "run", "--site", c.SiteFile(), "--host", host)
	return err
}

// PowerOn boots a host that is off, and starts its daemon.
func (c *Cluster) PowerOn(host string) error {
	if err := c.Bed.Boot(host); err != nil {
		return err
	}
	if err := c.Observer.Watch(host, Port(host, Bus)); err != nil {
		return err
	}
	return c.StartDaemon(host)
}

// Client talks to a host's daemon as the host's root would, through the
// host's own file system.
func (c *Cluster) Client(host string) *api.Client {
	return api.NewLocalClient(fmt.Sprintf("/proc/%d/root%s/bumpless/api.sock", c.Bed.Host(host).pid(), RunDir))
}

// Wait asks the hosts' daemons for their status until one says what ok wants.
func (c *Cluster) Wait(limit time.Duration, what string, ok func(api.Status) bool) (api.Status, error) {
	var last api.Status
	var lastErr error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for _, host := range c.options.Hosts {
			if !c.Bed.Host(host).On() {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			s, err := c.Client(host).Status(ctx)
			cancel()
			if err != nil {
				lastErr = err
				continue
			}
			if last = s; ok(s) {
				return s, nil
			}
		}
	}
	return last, fmt.Errorf("waited %v for %s; last status: %+v; last error: %v%s", limit, what, last, lastErr, c.logs())
}

// logs are the ends of the daemons' logs, for an error.
func (c *Cluster) logs() (text string) {
	for _, host := range c.options.Hosts {
		b, err := os.ReadFile(filepath.Join(c.options.Dir, host, "daemon.log"))
		if err != nil {
			continue
		}
		text += fmt.Sprintf("\n--- %s\n%s", host, b[max(0, len(b)-4000):])
	}
	return text
}

// SaveLogs copies every daemon's log into dir, as PREFIX-HOST.log.
func (c *Cluster) SaveLogs(dir, prefix string) error {
	var errs []error
	for _, host := range c.options.Hosts {
		b, err := os.ReadFile(filepath.Join(c.options.Dir, host, "daemon.log"))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, prefix+"-"+host+".log"), b, 0o644)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Close ends everything.
func (c *Cluster) Close() error {
	var errs []error
	if c.Observer != nil {
		c.Observer.Close()
	}
	if c.unit != nil {
		errs = append(errs, c.unit.Close())
	}
	if c.Bed != nil {
		errs = append(errs, c.Bed.Close())
	}
	for _, t := range c.consoles {
		errs = append(errs, t.Close())
	}
	return errors.Join(errs...)
}
