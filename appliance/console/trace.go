package console

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"bumpless/appliance/api"
	"bumpless/migrate/replay"
)

// Traced is a trace that was recorded.
type Traced struct {
	Guest string `json:"guest"`
	File  string `json:"file"`
	Bytes int    `json:"bytes"`
	// Seconds behind the first pass, Passes with it.
	Seconds float64 `json:"seconds"`
	Passes  int     `json:"passes"`
	// FirstPassBytes is the guest's RAM that is not zero; DirtiedBytesPerS what it
	// wrote to afterwards, each page counted once in each pass.
	FirstPassBytes   int64   `json:"first_pass_bytes"`
	DirtiedBytesPerS float64 `json:"dirtied_bytes_per_s"`
}

// traceCommand is for the command line only: it writes a file where it is typed,
// and nobody at a serial port is to write files on the host.
func (v *verbs) traceCommand() *cobra.Command {
	seconds, output := 10, ""
	c := &cobra.Command{Use: "trace GUEST", Short: "record which pages a running guest dirties, for replay; it runs on", Args: atMost("GUEST"),
		Long: "The guest is neither stopped nor moved. It must run on the host that is asked.\n" +
			"The file says which pages were dirtied and how well they compress, not what\nis in them. A move of the guest ends the recording.",
		ValidArgsFunction: v.complete(guestNames),
		RunE: func(c *cobra.Command, args []string) error {
			if err := v.need(c, args, wanted{"GUEST", guestNames}); err != nil {
				return err
			}
			if seconds < 1 || seconds > api.MaxTraceSeconds {
				return misused("trace: --seconds %d, want 1 to %d", seconds, api.MaxTraceSeconds)
			}
			return v.trace(c.Context(), api.TraceRequest{Guest: args[0], Seconds: seconds}, cmp.Or(output, args[0]+".trace"))
		}}
	c.Flags().IntVar(&seconds, "seconds", seconds, fmt.Sprintf("at least so many seconds behind the first pass, 1 to %d", api.MaxTraceSeconds))
	c.Flags().StringVarP(&output, "output", "o", "", "`file` for the trace, which must not be there yet; default GUEST.trace")
	return c
}

func (v *verbs) trace(ctx context.Context, r api.TraceRequest, path string) error {
	b, err := v.open()
	if err != nil {
		return err
	}
	// Before the guest is bothered: a file that cannot be written.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return misused("trace: %s is there already; say another file with -o", path)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return misused("trace: no folder %s", filepath.Dir(path))
	case err != nil:
		return fmt.Errorf("trace: make the file: %w; say another with -o", err)
	}
	file, trace, err := v.record(ctx, b, r)
	if err == nil {
		_, err = f.Write(file)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path)) // whole or not at all
	}
	t := summary(r.Guest, path, len(file), trace)
	return v.answer("trace", "trace", t, func() {
		v.screen.Printf("%s: %.1f s of guest %s in %d passes, %s\nnot zero %s, dirtied %s/s\n", t.File, t.Seconds, t.Guest, t.Passes, size(int64(t.Bytes)),
			size(t.FirstPassBytes), size(int64(t.DirtiedBytesPerS)))
	})
}

// record has the guest recorded; what comes must be whole.
func (v *verbs) record(ctx context.Context, b api.Backend, r api.TraceRequest) ([]byte, replay.Trace, error) {
	file, err := v.receive(ctx, b, r)
	v.screen.settle()
	if err != nil {
		return nil, replay.Trace{}, err
	}
	trace, err := replay.Decode(file)
	if err != nil {
		return nil, replay.Trace{}, fmt.Errorf("what came is not whole: %w", err)
	}
	return file, trace, nil
}

// receive takes the trace in, and shows how far it is.
func (v *verbs) receive(ctx context.Context, b api.Backend, r api.TraceRequest) ([]byte, error) {
	var file bytes.Buffer
	var began time.Time
	var told error
	err := b.Trace(ctx, api.Caller{}, r, func(l api.TraceLine) {
		if l.Phase == "file" {
			if file.Len()+len(l.Chunk) <= replay.MaxFile {
				file.Write(l.Chunk)
			}
			return
		}
		if v.json {
			told = errors.Join(told, v.screen.Emit("trace", "progress", l))
			return
		}
		switch {
		case l.Pass == 1:
			began = v.screen.Now()
			v.screen.Printf("%s: first pass, %d pages; recording\n", r.Guest, l.Pages)
		case l.Pass > 1:
			v.screen.Live("trace", fmt.Sprintf("%s: %.1f of %d s, pass %d, %d pages", r.Guest, v.screen.Now().Sub(began).Seconds(), r.Seconds, l.Pass, l.Pages))
		}
	})
	return file.Bytes(), errors.Join(err, told)
}

func summary(guest, path string, bytes int, t replay.Trace) Traced {
	s := Traced{Guest: guest, File: path, Bytes: bytes, Passes: len(t.Passes), Seconds: (t.Passes[len(t.Passes)-1].At - t.Passes[0].At).Seconds()}
	pages := make([]int64, len(t.Passes))
	for i, p := range t.Passes {
		for _, span := range p.Spans {
			pages[i] += int64(span.Count)
		}
	}
	s.FirstPassBytes = pages[0] * replay.PageSize
	for _, n := range pages[1:] {
		s.DirtiedBytesPerS += float64(n * replay.PageSize)
	}
	if s.Seconds > 0 {
		s.DirtiedBytesPerS /= s.Seconds
	}
	return s
}
