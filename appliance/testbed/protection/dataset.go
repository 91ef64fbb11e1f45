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
}

const members = 7

// DataSet encodes the report.
func (r Report) DataSet() []goose.Data {
	number := func(n uint64) goose.Data { return goose.Data{Kind: goose.Unsigned, Uint: n} }
	return []goose.Data{
		number(uint64(r.BootID)), number(r.PagesWritten), number(r.VerifyPasses), number(r.CorruptPages),
		number(r.SVReceived), number(r.SVLost), {Kind: goose.Boolean, Bool: r.Trip},
	}
}

// ParseReport decodes a data set.
func ParseReport(data []goose.Data) (Report, error) {
	if len(data) != members {
		return Report{}, fmt.Errorf("parse the guest's report: %d members, want %d", len(data), members)
	}
	var n [members - 1]uint64
	for i := range n {
		if data[i].Kind != goose.Unsigned {
			return Report{}, fmt.Errorf("parse the guest's report: member %d is not an unsigned integer", i)
		}
		n[i] = data[i].Uint
	}
	last := data[members-1]
	if last.Kind != goose.Boolean || n[0]>>32 != 0 {
		return Report{}, fmt.Errorf("parse the guest's report: the boot id or the trip member has a wrong type")
	}
	return Report{BootID: uint32(n[0]), PagesWritten: n[1], VerifyPasses: n[2], CorruptPages: n[3],
		SVReceived: n[4], SVLost: n[5], Trip: last.Bool}, nil
}
