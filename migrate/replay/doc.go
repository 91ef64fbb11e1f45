// Package replay runs a recorded dirty trace of a guest through a policy
// against a modelled link: the same figures on every run, without a guest, a
// network or a clock. It is pure.
//
// A Trace says which pages a guest dirtied and when, and how well their contents
// compress. It is recorded by `bumpless trace`, at a gateway
// (gateway.SourceConfig.TracePath), or made from a Load. Run moves the traced guest:
//
//	trace -> guest's memory -> passes -> pages.Table -> policy -> link -> Figures
//
// The table is the very one that the gateway runs.
//
// # What is modelled, and how
//
// QEMU: its dirty bitmap is read as soon as what it found before has been taken
// from it, not when it is asked for more; a page is sent with the
// content that it has when its turn comes, and is dirty again if it was written
// after the bitmap was read. The gateway: passes are read at ReadPage for each
// page and not more often than PassInterval; a pass after a wait takes what QEMU
// had found before the wait, and what it finds then. The reader waits while QueuePages
// wait for the link; contents that wait are overwritten in place; what a policy
// holds is bounded. With a policy that reads ahead, as soon as a pass is not
// policy.InOrder, a page is sent with the content that it has then, and the reader does
// not wait; and what lies where the guest has written since the move began counts as
// written again when the first pass brings it. The link carries LinkBits less the reserve, in batches, and its rate is
// known after 100 ms.
//
// The pause is STOP to the guest's running at the destination: the larger of
// sending and reading what was pending, the device state, Costs.Fixed, and one
// and a half round trips (the last byte, READY, COMMIT). A READY that would come
// after budget less margin is a roll-back at that moment.
//
// Not modelled: loss, other traffic than the reserve, CPU time of compression,
// contents that return to an older value, and that 16 pages together compress
// better than one by one.
//
// A trace is independent of the link that it was recorded over: what the guest
// did is what counts, not how fast it was read. When it ends, all but its bulk
// begins again.
package replay
