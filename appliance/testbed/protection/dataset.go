// Package protection is what the protection guest and the observer agree on:
// the GOOSE data set by which the guest tells of itself.
package protection

import (
	"fmt"

	"bumpless/iec61850/goose"
)

// Report is the guest's data set, in the order of its members. All counters
// start with the boot of the guest.
type Report struct {
	BootID       uint32 // random at each boot: tells a restarted guest from a moved one
	PagesWritten uint64
	VerifyPasses uint64 // passes over all of the dirtied memory
	CorruptPages uint64 // pages found lost, stale or damaged
	SVReceived   uint64 // samples
	SVLost       uint64 // samples
	Trip         bool   // the last sample was above the pick-up value
	DiskWritten  uint64 // blocks written and flushed; 0 without a disk
	DiskPasses   uint64 // passes over all of the disk's blocks
	DiskCorrupt  uint64 // blocks found lost, stale or damaged, and I/O errors
	LoadRounds   uint64 // rounds of the load that ended well; 0 without a load
	LoadFailures uint64 // times that a program of the load failed, or its result was wrong
}

// The number of members tells the versions of the data set apart: the third one
// has the load's. ConfRev goes along with it.
const (
	membersV2 = 10
	members   = 12

	ConfRev = 3
)

// DataSet encodes the report.
func (r Report) DataSet() []goose.Data {
	number := func(n uint64) goose.Data { return goose.Data{Kind: goose.Unsigned, Uint: n} }
	return []goose.Data{
		number(uint64(r.BootID)), number(r.PagesWritten), number(r.VerifyPasses), number(r.CorruptPages),
		number(r.SVReceived), number(r.SVLost), {Kind: goose.Boolean, Bool: r.Trip},
		number(r.DiskWritten), number(r.DiskPasses), number(r.DiskCorrupt),
		number(r.LoadRounds), number(r.LoadFailures),
	}
}

// ParseReport decodes a data set, of this version or of the one before.
func ParseReport(data []goose.Data) (Report, error) {
	if len(data) != members && len(data) != membersV2 {
		return Report{}, fmt.Errorf("parse the guest's report: %d members, want %d or %d", len(data), membersV2, members)
	}
	var n [members]uint64
	for i, d := range data {
		if i == trip {
			if d.Kind != goose.Boolean {
				return Report{}, fmt.Errorf("parse the guest's report: member %d is not a boolean", i)
			}
			continue
		}
		if d.Kind != goose.Unsigned {
			return Report{}, fmt.Errorf("parse the guest's report: member %d is not an unsigned integer", i)
		}
		n[i] = d.Uint
	}
	if n[0]>>32 != 0 {
		return Report{}, fmt.Errorf("parse the guest's report: the boot id %d has more than 32 bits", n[0])
	}
	return Report{BootID: uint32(n[0]), PagesWritten: n[1], VerifyPasses: n[2], CorruptPages: n[3],
		SVReceived: n[4], SVLost: n[5], Trip: data[trip].Bool, DiskWritten: n[7], DiskPasses: n[8], DiskCorrupt: n[9],
		LoadRounds: n[10], LoadFailures: n[11]}, nil
}

// trip is the member that is a boolean.
const trip = 6
