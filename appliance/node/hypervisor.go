package node

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"bumpless/appliance/config"
	"bumpless/appliance/guest"
	"bumpless/ha/core"
)

// hypervisor is this host's QEMU, in core's words.
type hypervisor struct{ *guest.Runner }

func newHypervisor(s config.Site, self config.Host) *hypervisor {
	r := &guest.Runner{RunDir: s.RunDir, Binary: s.QEMU.Binary, Specs: map[string]guest.Spec{}}
	for _, g := range s.Guests {
		r.Specs[g.Name] = guest.Spec{Name: g.Name, MemoryMiB: g.MemoryMiB, VCPUs: g.VCPUs, Machine: g.Machine, CPU: g.CPU,
			Accel: s.QEMU.Accel, Kernel: g.Kernel, Initrd: g.Initrd, Cmdline: g.Cmdline, MAC: g.MAC, Bridge: self.BusBridge, CPUs: self.GuestCPUs,
			Disks: disksOf(g), DeltaCacheMiB: g.MemoryMiB * s.Move.DeltaCachePercent / 100}
	}
	return &hypervisor{r}
}

var statuses = map[guest.State]core.Status{
	guest.Running: core.Running, guest.Paused: core.Paused, guest.Incoming: core.Incoming, guest.Unclear: core.Unclear,
}

// observe lists every live copy, found by looking at processes.
func (h *hypervisor) observe(ctx context.Context) ([]core.Observed, error) {
	copies, err := h.Find()
	if err != nil {
		return nil, err
	}
	list := make([]core.Observed, len(copies))
	var wait sync.WaitGroup
	for i, c := range copies {
		wait.Add(1)
		go func() {
			defer wait.Done()
			list[i] = core.Observed{Guest: c.Guest, Epoch: c.Epoch, PID: c.PID, Status: statuses[h.Look(ctx, c)]}
		}()
	}
	wait.Wait()
	return list, nil
}

// admit says why a guest cannot come here from the host, or nil.
func (n *Node) admit(ctx context.Context, name, from string) error {
	here, err := n.hypervisor.Probe(ctx)
	if err != nil {
		return err
	}
	spec, ok := n.hypervisor.Specs[name]
	if !ok {
		return fmt.Errorf("guest %s is not in the site file of host %s", name, n.self.Name)
	}
	there, err := n.abilitiesOf(ctx, from)
	if err != nil {
		return err
	}
	version, err := there.Version(name)
	if err != nil {
		return fmt.Errorf("host %s: %w", from, err)
	}
	return here.Admit(spec, version)
}

// abilities of a host: its QEMU's, and what its daemon has measured.
type abilities struct {
	guest.Abilities
	// WakingMs is, by guest, how much of its budget is kept until it is heard there. A
	// daemon of an earlier release keeps nothing.
	WakingMs map[string]int `json:"waking_ms,omitempty"`
}

// abilitiesOf asks a host, this one or another.
func (n *Node) abilitiesOf(ctx context.Context, host string) (a abilities, err error) {
	if host == n.self.Name {
		return n.abilities(ctx)
	}
	raw, err := n.peer(host).Abilities(ctx)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, fmt.Errorf("abilities of host %s: %w", host, err)
	}
	return a, nil
}

func (n *Node) abilities(ctx context.Context) (abilities, error) {
	a, err := n.hypervisor.Probe(ctx)
	waking := map[string]int{}
	for name := range n.hypervisor.Specs {
		waking[name] = n.wakings.keep(name, n.site.Move.WakingMs)
	}
	return abilities{a, waking}, err
}

// Abilities implements api.HostBackend.
func (n *Node) Abilities(ctx context.Context) (json.RawMessage, error) {
	a, err := n.abilities(ctx)
	if err != nil {
		return nil, err
	}
	return json.Marshal(a)
}
