package node

import (
	"slices"

	"bumpless/appliance/config"
	"bumpless/appliance/guest"
)

// disksOf are a guest's disks in the hypervisor's words.
func disksOf(g config.Guest) (list []guest.Disk) {
	for _, d := range g.Disks {
		list = append(list, guest.Disk{Path: d.Path, Format: d.Format, Local: d.Kind == config.DiskLocal, SizeMiB: d.SizeMiB})
	}
	return list
}

// hasLocalDisk: the guest can be started only where it ran last.
func hasLocalDisk(g config.Guest) bool {
	return slices.ContainsFunc(g.Disks, func(d config.Disk) bool { return d.Kind == config.DiskLocal })
}
