package pages

import (
	"testing"

	"bumpless/migrate/policy"
)

// once is a table of 64 pages that were all sent once, of which those to below n
// are held again. Each took all of a page.
func once(t *testing.T, n int) *Table[byte] {
	t.Helper()
	hold := false
	b := New[byte](rule{Holds: func(policy.Page, uint32) bool { return hold }}, 64, 64)
	b.Carry(1, nil)
	for at := range 64 {
		b.page(at, 1)
	}
	for _, s := range takeAll(b) {
		b.Learn(s.at, Sixteenths)
	}
	b.PassEnd(policy.Moment{})
	b.PassEnd(policy.Moment{})
	hold = true
	for at := range n {
		b.page(at, 2)
	}
	b.PassEnd(policy.Moment{}) // the last pass brought nothing anew
	b.PassEnd(policy.Moment{})
	return b
}

// measure a pass's sample, every page of which would take so many bytes.
func measure(b *Table[byte], bytes int) (pages int) {
	next := -1
	b.Sample(64, func(below int) int { next++; return next % below }, func(int, int) {
		b.Sampled(1, bytes)
		pages++
	})
	b.PassEnd(policy.Moment{})
	return pages
}

func TestASampleStandsForThePagesThatWereSentOnce(t *testing.T) {
	b := once(t, 64)
	if got := b.Ratio(0); got != 1 {
		t.Errorf("ratio %v before anything was measured; want what they took the first time, 1", got)
	}
	if n := measure(b, Size/32); n != 64 || b.Ratio(0) != 1.0/32 {
		t.Errorf("ratio %v, %d measured; want that of the sample, 1/32 of 64", b.Ratio(0), n)
	}
	if b.PassEnd(policy.Moment{}); b.Ratio(0) != 1 {
		t.Errorf("ratio %v a pass without a sample later; want 1 again", b.Ratio(0))
	}
}

func TestAFewPagesSayNothingOfTheRest(t *testing.T) {
	b := once(t, leastSample)
	b.Sampled(leastSample-1, 0)
	if b.PassEnd(policy.Moment{}); b.Ratio(0) != 1 {
		t.Errorf("ratio %v; want 1", b.Ratio(0))
	}
}

// Pages that are written all the time are not guessed: they would be what is left
// when the mean is of others.
func TestOfAHotPageAndOneThatWasSentTwiceWhatTheyTookStands(t *testing.T) {
	b := once(t, 40)
	measure(b, 0) // leaves nothing of those that are guessed
	for range 3 {
		b.page(0, 3)
		measure(b, 0)
	}
	measure(b, 0)
	if got, want := b.Ratio(0), 1.0/40; got != want {
		t.Errorf("ratio %v with one hot page of 40; want %v", got, want)
	}
	b.LetGo()
	for _, s := range takeAll(b) {
		b.Learn(s.at, 4)
	}
	if b.shares != 0 || b.guess.pages != 0 || b.guess.own != 0 || b.Ratio(0) != 1 {
		t.Errorf("%d shares, %+v of nothing; want none", b.shares, b.guess)
	}
	b.Sampled(leastSample, 0)
	b.PassEnd(policy.Moment{})
	b.page(9, 5)
	b.PassEnd(policy.Moment{})
	b.PassEnd(policy.Moment{})
	if got := b.Ratio(0); got != 0.25 {
		t.Errorf("ratio %v of a page that took a quarter when it was sent again; want that", got)
	}
}
