package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"bumpless/appliance/testbed/protection"
	"bumpless/migrate/link"
	"bumpless/migrate/qmp"
)

// batchBytes that are compressed together: beyond it nothing is gained on the
// RAM of guests.
const batchBytes = 64 << 10

// limitOf is what a perfect migration of this memory would send: each non-zero
// content once, compressed as a gateway does it. carry is given all of those contents.
func limitOf(memory io.Reader, carry func(contents []byte) error) (int64, error) {
	compressor, err := link.NewCompressor()
	if err != nil {
		return 0, err
	}
	seen := map[[sha256.Size]byte]bool{sha256.Sum256(make([]byte, protection.PageSize)): true}
	page := make([]byte, protection.PageSize)
	contents := make([]byte, 0, workBytes)
	var sum int64
	flush := func() error {
		for batch := range slices.Chunk(contents, batchBytes) {
			out, _ := compressor.Compress(batch, link.Thorough)
			sum += int64(len(out))
		}
		err := carry(contents)
		contents = contents[:0]
		return err
	}
	for {
		if _, err := io.ReadFull(memory, page); errors.Is(err, io.EOF) {
			return sum, flush()
		} else if err != nil {
			return 0, fmt.Errorf("read the guest's memory: %w", err)
		}
		if key := sha256.Sum256(page); !seen[key] {
			seen[key] = true
			if contents = append(contents, page...); len(contents) == workBytes {
				if err := flush(); err != nil {
					return 0, err
				}
			}
		}
	}
}

// measureLimit dumps the guest's memory and weighs it, in bytes and in the work that they
// make. The guest is stopped meanwhile: it would be at work beside that. All of its RAM
// lies below the PCI hole at this size (hw/i386/pc_q35.c).
func (g *rig) measureLimit(ctx context.Context) (bytes int64, cpu time.Duration, err error) {
	q, err := qmp.Dial(ctx, g.Runners[g.At].MoveSocket(guestName, g.Epoch))
	if err != nil {
		return 0, 0, err
	}
	defer q.Close()
	path := filepath.Join(g.Dir, "memory")
	defer os.Remove(path)
	if err := q.Execute(ctx, "stop", nil, nil); err != nil {
		return 0, 0, err
	}
	err = q.Execute(ctx, "pmemsave", map[string]any{"val": 0, "size": g.load.memoryMiB() << 20, "filename": path}, nil)
	if err == nil {
		bytes, cpu, err = g.weigh(path)
	}
	return bytes, cpu, errors.Join(err, q.Execute(ctx, "cont", nil, nil))
}

// weigh a dump of the guest's memory.
func (g *rig) weigh(path string) (bytes int64, cpu time.Duration, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	w, err := newWork(g.TLS(hosts[0]), g.TLS(hosts[1]), hosts[0], hosts[1])
	if err != nil {
		return 0, 0, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	bytes, err = limitOf(bufio.NewReaderSize(f, 1<<20), w.carry)
	cpu, ended := w.end()
	return bytes, cpu, errors.Join(err, ended)
}
