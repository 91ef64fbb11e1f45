package replay

import (
	"time"

	"bumpless/migrate/pages"
)

// Link is the modelled link between two hosts.
type Link struct {
	BitsPerS       int64
	RTT            time.Duration
	ReservePercent int64 // left to the service
}

// Costs of a switchover beside the guest's pages. The defaults are what QEMU 10
// was measured to take.
type Costs struct {
	StopToRAMEnd time.Duration // before the last look's pages can be read
	Load         time.Duration // tail read, loaded and started
	Resume       time.Duration // of the source, in a roll-back
	TailBytes    int64         // device state
	TailPacked   int64         // the same, compressed
}

// Settings of a replay; their meaning is that of the gateway's.
type Settings struct {
	Link           Link
	Costs          Costs
	Budget, Margin time.Duration
	FixedEstimate  time.Duration // what the gateway assumes a switchover to cost without pages
	Ask            time.Duration // that others take who have a say
	PassInterval   time.Duration
	ReadPage       time.Duration // to read one page from QEMU
	QueuePages     int           // beyond it the reader waits
	HeldPages      int           // that a policy may hold
	Timeout        time.Duration
}

// Defaults are those of the gateway, with a link of 1 Gbit/s.
func Defaults() Settings {
	return Settings{
		Link: Link{BitsPerS: 1_000_000_000, RTT: 200 * time.Microsecond, ReservePercent: 5},
		Costs: Costs{StopToRAMEnd: 3 * time.Millisecond, Load: 8 * time.Millisecond, Resume: 2 * time.Millisecond,
			TailBytes: 171_000, TailPacked: 7500},
		Budget: 300 * time.Millisecond, Margin: 50 * time.Millisecond, FixedEstimate: 25 * time.Millisecond, Ask: 5 * time.Millisecond,
		PassInterval: 200 * time.Millisecond, ReadPage: 5 * time.Microsecond,
		QueuePages: pages.QueuePages, HeldPages: 512 << 20 / PageSize, Timeout: 600 * time.Second,
	}
}

// bytesPerS of the link that a move may use.
func (l Link) bytesPerS() int64 { return l.BitsPerS / 8 * (100 - l.ReservePercent) / 100 }

// Outcome of a replayed move.
type Outcome string

// Outcomes: the gateway's, as far as a model has them.
const (
	Moved      Outcome = "moved"
	RolledBack Outcome = "rolled-back"
	Refused    Outcome = "refused"
	TimedOut   Outcome = "timed-out" // neither stopped nor refused in time
)

// Figures of a replayed move.
type Figures struct {
	Outcome   Outcome
	Reason    string
	LinkBytes int64 // on the link, frames included
	Passes    uint32
	FirstPass time.Duration // until the bulk had been read
	Total     time.Duration // until the guest's place was decided
	Pause     time.Duration // STOP to running, here or there; 0: never stopped
	Estimate  time.Duration // of the last decision
}
