package sv

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// stream feeds the counters in turn.
func stream(l *Loss, counts ...uint16) {
	for _, n := range counts {
		l.Receive(n)
	}
}

func TestLossCountsWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		what                      string
		counts                    []uint16
		lost, late, twice, beyond uint64
	}{
		{"no gap", []uint16{5, 6, 7}, 0, 0, 0, 0},
		{"the first sample, whichever", []uint16{3000}, 0, 0, 0, 0},
		{"the wrap at the rate", []uint16{3998, 3999, 0, 1}, 0, 0, 0, 0},
		{"a gap", []uint16{1, 5}, 3, 0, 0, 0},
		{"a gap across the wrap", []uint16{3998, 2}, 3, 0, 0, 0},
		{"a late sample", []uint16{1, 3, 2, 4}, 0, 1, 0, 0},
		{"a late sample across the wrap", []uint16{3998, 0, 3999, 1}, 0, 1, 0, 0},
		{"two late of three", []uint16{1, 5, 3, 2, 6}, 1, 2, 0, 0},
		{"a sample twice", []uint16{1, 2, 2, 3}, 0, 0, 1, 0},
		{"a sample twice after a gap, which hides no loss", []uint16{1, 3, 3, 4}, 1, 0, 1, 0},
		{"a late sample twice", []uint16{1, 3, 2, 2}, 0, 1, 1, 0},
		{"0.6 s of silence", []uint16{0, 2400}, 2399, 0, 0, 0},
		{"0.9 s of silence", []uint16{0, 3600}, 3599, 0, 0, 0},
		{"the same smpCnt lost in two seconds", slices.Concat([]uint16{1}, span(3, 3999), []uint16{0, 1, 3}), 2, 0, 0, 0},
		{"a lost sample that comes in the next second", slices.Concat([]uint16{1}, span(3, 3999), span(0, 3)), 1, 0, 0, 0},
		{"a sample that is 0.4 s late", slices.Concat([]uint16{1}, span(3, 1600), []uint16{2, 1601}), 0, 1, 0, 0},
		{"another rate", []uint16{3998, 3999, 4000, 4001, 0}, 0, 0, 0, 2},
	} {
		l := Loss{Rate: 4000}
		stream(&l, c.counts...)
		if l.Received != uint64(len(c.counts)) || l.Lost != c.lost || l.Late != c.late || l.Duplicates != c.twice || l.OutOfRange != c.beyond {
			t.Errorf("%s: received %d lost %d late %d twice %d out of range %d; want %d %d %d %d %d", c.what,
				l.Received, l.Lost, l.Late, l.Duplicates, l.OutOfRange, len(c.counts), c.lost, c.late, c.twice, c.beyond)
		}
	}
}

// span is first, first+1, … last.
func span(first, last uint16) (all []uint16) {
	for n := first; n <= last; n++ {
		all = append(all, n)
	}
	return all
}

func TestAnyRateWraps(t *testing.T) {
	for _, rate := range []uint16{1, 2, 80, 4000, 4800, 65535} {
		l := Loss{Rate: rate}
		for n := range 3 * int(rate) {
			l.Receive(uint16(n % int(rate)))
		}
		if l.Lost != 0 || l.Duplicates != 0 && rate > 1 || l.OutOfRange != 0 {
			t.Errorf("rate %d: lost %d, twice %d, out of range %d; want none", rate, l.Lost, l.Duplicates, l.OutOfRange)
		}
	}
	l := Loss{}
	stream(&l, 0, 1, 2)
	if l.OutOfRange != 3 || l.Lost != 0 {
		t.Errorf("no rate: lost %d, out of range %d; want 0 and 3", l.Lost, l.OutOfRange)
	}
}

// TestLossAgreesWithAnExactCount drops, delays and doubles samples at random.
func TestLossAgreesWithAnExactCount(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 61850))
		l := Loss{Rate: 4800}
		dropped := uint64(0)
		var held []int
		for sent := range 20_000 {
			n := uint16(sent % 4800)
			switch r := random.IntN(100); {
			case sent == 0 || sent > 19_900 || r < 90:
				l.Receive(n)
			case r < 94:
				dropped++
			case r < 97:
				held = append(held, sent)
			default:
				stream(&l, n, n)
			}
			for len(held) > 0 && (held[0] < sent-200 || sent == 19_999) {
				l.Receive(uint16(held[0] % 4800))
				held = held[1:]
			}
		}
		if l.Lost != dropped {
			t.Errorf("seed %d: Lost = %d; %d were dropped", seed, l.Lost, dropped)
		}
	}
}
