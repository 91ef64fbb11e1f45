// Package stream reads and writes QEMU's migration stream (version 3, as QEMU
// 10 emits it; all numbers big-endian).
//
//	header  "QEVM" version | 07 machine name | commands …
//	01 RAM START: blocks | 02 RAM PART: pages … | … | 03 RAM END: pages
//	device state, opaque here, up to 00 06 length {JSON}
//
// A Reader takes it apart into Records without holding more than one page; a
// Writer makes a stream that QEMU accepts, with the pages in any order. Sizes
// are bounded, and what this package does not know it refuses by name: a
// guest's memory must not be guessed at.
//
// Source: QEMU's docs/devel/migration/main.rst and migration/{savevm,ram}.c,
// and what QEMU 10.0.2 was seen to send.
package stream

import "fmt"

// PageSize of a target page, in bytes.
const PageSize = 4096

// Bounds of what a stream may claim.
const (
	MaxBlocks     = 64
	MaxRAMBytes   = 1 << 44
	MaxTailBytes  = 64 << 20 // device state; 171 KB was seen
	maxCommand    = 64       // bytes of data; PING's 4 are the most that is known
	maxMachine    = 256
	streamVersion = 3
	ramVersion    = 4
)

// Bytes that open a part of the stream (migration/savevm.h, QEMU_VM_*).
const (
	magic         = 0x5145564d
	openEnd       = 0x00
	openStart     = 0x01
	openPart      = 0x02
	openLast      = 0x03
	openFull      = 0x04
	openSub       = 0x05
	openVMDesc    = 0x06
	openConfig    = 0x07
	openCommand   = 0x08
	openFooter    = 0x7e
	subsectionTag = openSub
)

// Flags in the low bits of a page's offset (migration/ram.c, RAM_SAVE_FLAG_*).
const (
	flagZero     = 0x02
	flagMemSize  = 0x04
	flagPage     = 0x08
	flagEOS      = 0x10
	flagContinue = 0x20
	flagXBZRLE   = 0x40
	flagMask     = PageSize - 1
)

// Commands (migration/savevm.c, enum qemu_vm_cmd).
const (
	CommandOpenReturnPath  = 1
	CommandPing            = 2
	CommandSwitchoverStart = 11
)

// Error says which field is wrong, and where.
type Error struct {
	Offset int64 // bytes from the start of the stream
	Field  string
	Err    error
}

func (e *Error) Error() string {
	return fmt.Sprintf("QEMU stream, %s at offset %d: %v", e.Field, e.Offset, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Kind of a Record.
type Kind int

// Kinds, in the order in which they first come.
const (
	Config     Kind = iota + 1 // header and machine; Raw holds the bytes
	Command                    // Number and Raw
	RAMStart                   // Blocks and Raw
	Page                       // Block, Offset, Zero or Data
	SectionEnd                 // the end of a section of pages; Last for RAM END
)

// Record is one piece of the stream. Data is valid until the next call.
type Record struct {
	Kind    Kind
	Raw     []byte
	Number  uint16 // of a Command
	Machine string
	Blocks  []Block
	Block   int    // index into Blocks
	Offset  uint64 // of the page in its block, in bytes
	Zero    bool
	Data    []byte // PageSize bytes, nil when Zero
	Last    bool
}

// Block is one block of guest RAM.
type Block struct {
	Name string `json:"name"`
	Size uint64 `json:"size"`
}

// Pages in the block.
func (b Block) Pages() uint64 { return b.Size / PageSize }
