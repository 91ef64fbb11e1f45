package node

import (
	"reflect"
	"slices"
	"testing"

	"bumpless/appliance/config"
	"bumpless/appliance/guest"
	"bumpless/ha/core"
)

func TestAGuestsDisksReachTheHypervisorAndBothGateways(t *testing.T) {
	g := config.Guest{Name: "g", Disks: []config.Disk{{Path: "/srv/a", Kind: config.DiskShared, Format: "qcow2"},
		{Path: "/var/b", Kind: config.DiskLocal, Format: "raw", SizeMiB: 64}}}
	n := &Node{site: config.Site{RunDir: "/run/b", Guests: []config.Guest{g}}}
	n.hypervisor = newHypervisor(n.site, n.self)
	want := []guest.Disk{{Path: "/srv/a", Format: "qcow2"}, {Path: "/var/b", Format: "raw", Local: true, SizeMiB: 64}}
	if got := n.hypervisor.Specs["g"].Disks; !reflect.DeepEqual(got, want) {
		t.Errorf("disks = %+v; want %+v", got, want)
	}
	m := core.Move{ID: "g-2", Guest: "g", From: "a", To: "b", Epoch: 2}
	source, destination := n.sourceConfig(core.RunMove{Move: m, Epoch: 1}).LocalDisks, n.destinationConfig(m).LocalDisks
	if want := []string{"d1"}; !slices.Equal(source, want) || !slices.Equal(destination, want) {
		t.Errorf("the gateways get %v and %v; want the local disk, %v", source, destination, want)
	}
	if !hasLocalDisk(g) || hasLocalDisk(config.Guest{Disks: g.Disks[:1]}) {
		t.Error("a guest is tied to its host by a local disk, and by nothing else")
	}
}
