package link

// Effort is how hard pages are compressed. All but None are zstd on the wire.
//
// One core of an EPYC, 64 KiB batches of code and data of which 22 % are random
// (MB/s of content, ratio); on a fresh Debian guest's RAM the order is the same:
//
//	libzstd 3    160  .577        klauspost zstd fastest  258  .640
//	libzstd 1    360  .595        s2                      674  .693
//	libzstd -1   493  .626        lz4 (pierrec)           353  .680
//	libzstd -5   703  .714
//
// s2 gains nothing over libzstd -5, and would be one more format to read.
type Effort uint8

// Efforts, each faster than the one before it.
const (
	Thorough Effort = iota // libzstd 3
	Usual                  // libzstd 1
	Quick                  // libzstd -1
	Hasty                  // libzstd -5
	None                   // as it is
)

// mbPerS is about what an effort compresses on one core: only the relations
// count.
var mbPerS = [...]float64{Thorough: 160, Usual: 360, Quick: 490, Hasty: 700}

// Slowdown is how many times longer the next better effort takes than e; 1 for
// the ends of the list, which cannot be compared.
func (e Effort) Slowdown() float64 {
	if e == Thorough || e == None {
		return 1
	}
	return mbPerS[e] / mbPerS[e-1]
}
