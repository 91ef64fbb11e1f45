// Package pages is the table of a guest's pages at the source of a move: which
// wait, which are on their way, and what a policy is asked about each. It is pure,
// and knows no contents and no threads: the gateway runs it under a lock, beside
// the contents themselves, and the replay runs it against a modelled link.
//
//	        Arrive                      Pop
//	idle ------------> queued ------------------------> idle
//	  |                  ^   Arrive, as it was sent --> idle (it stays in the queue, as nothing)
//	  |  Arrive, Hold    |
//	  +--------------> held   PassEnd, Release (see spare); LetGo
//
// A page that waits and arrives again keeps its place: only its newest content is
// ever sent. With ReadAhead it may leave its place, to be held:
//
//	queued   Arrive, Hold --> held
//
// What a page's content is, a Tag says: two contents of one page are
// the same if their tags are.
package pages

// Size of a page, in bytes.
const Size = 4096

// What leaves together is compressed together, and written at once.
const (
	BatchContents = 16 // at most: 64 KiB, beyond which compression gains nothing
	BulkContents  = 32 // the same in bulk: fewer and longer writes take less CPU time
	BatchPages    = 64 // at most, short ones and zeros included
)
