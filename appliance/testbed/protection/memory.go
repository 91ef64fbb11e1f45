package protection

import (
	"encoding/binary"
	"sync"
)

// Pages is memory whose every page proves itself: it bears its place, a
// sequence number and a checksum, and what its sequence number should be is
// kept elsewhere. So a page that was lost, swapped, or brought back in an older
// version is found.
//
//	0  u64 place (region, page)    8  u64 sequence    16  u64 checksum of all else
//	24 …   pseudo-random, from place and sequence
type Pages struct {
	mu       sync.Mutex
	memory   []byte
	region   uint64
	expected []uint64 // sequence of each page
}

const pageHeader = 24

// NewPages takes memory, a multiple of PageSize, and writes every page once.
func NewPages(memory []byte, region int) *Pages {
	p := &Pages{memory: memory, region: uint64(region), expected: make([]uint64, len(memory)/PageSize)}
	for i := range p.expected {
		p.Write(i, PageSize)
	}
	return p
}

// Len is the number of pages.
func (p *Pages) Len() int { return len(p.expected) }

func (p *Pages) page(i int) []byte { return p.memory[i*PageSize : (i+1)*PageSize] }

func (p *Pages) place(i int) uint64 { return p.region<<32 | uint64(i) }

// Write gives page i its next sequence number and rewrites n of its bytes.
func (p *Pages) Write(i, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sequence := p.expected[i] + 1
	stamp(p.page(i), p.place(i), sequence, n)
	p.expected[i] = sequence
}

// Verify tells whether page i is what was last written.
func (p *Pages) Verify(i int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return proves(p.page(i), p.place(i), p.expected[i])
}

// stamp makes a page of the place and sequence number, rewriting n of its bytes.
func stamp(page []byte, place, sequence uint64, n int) {
	x := mix(place ^ sequence<<20)
	room := (PageSize - pageHeader) / 8
	words := min(n/8, room)
	for w, at := 0, int(x%uint64(room)); w < words; w, at = w+1, (at+1)%room {
		x = next(x)
		binary.LittleEndian.PutUint64(page[pageHeader+8*at:], x)
	}
	binary.LittleEndian.PutUint64(page, place)
	binary.LittleEndian.PutUint64(page[8:], sequence)
	binary.LittleEndian.PutUint64(page[16:], checksum(page))
}

// proves tells whether the page is whole, and of that place and sequence number.
func proves(page []byte, place, sequence uint64) bool {
	return binary.LittleEndian.Uint64(page) == place &&
		binary.LittleEndian.Uint64(page[8:]) == sequence &&
		binary.LittleEndian.Uint64(page[16:]) == checksum(page)
}

// checksum covers the page but for the checksum itself.
func checksum(page []byte) uint64 {
	sum := mix(binary.LittleEndian.Uint64(page)) + binary.LittleEndian.Uint64(page[8:])
	for at := pageHeader; at < PageSize; at += 8 {
		sum = (sum<<5 | sum>>59) ^ binary.LittleEndian.Uint64(page[at:])
		sum *= 0x9e3779b97f4a7c15
	}
	return sum
}

// next is xorshift64 (Marsaglia 2003): its output does not compress.
func next(x uint64) uint64 {
	x ^= x << 13
	x ^= x >> 7
	return x ^ x<<17
}

// mix is splitmix64's finaliser; the result is never 0, which xorshift cannot
// leave.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return (x ^ x>>31) | 1
}
