package link

import (
	"crypto/rand"
	"errors"
	"io"
	"testing"
	"time"

	"bumpless/migrate/link/linktest"

	"golang.org/x/sys/unix"
)

// BenchmarkConnection is what one connection carries over loopback, both its ends in one
// process, of what does not compress: TLS, the copies and the kernel, and no gateway. A
// gateway pair cannot carry more of such contents, or with less CPU time.
func BenchmarkConnection(b *testing.B) {
	const batch, total = 128 << 10, 512 << 20
	site := linktest.NewSite(b)
	from, err := files(site, "host-a").Load()
	must(b, err)
	to, err := files(site, "host-b").Load()
	must(b, err)
	body := make([]byte, batch)
	_, _ = rand.Read(body) // never fails
	for b.Loop() {
		rawClient, rawServer := loopback(b)
		c, err := Client(rawClient, from, "host-b", &Meter{})
		must(b, err)
		s, err := Server(rawServer, to, "host-a", &Meter{})
		must(b, err)
		ended := make(chan error, 1)
		go func() { ended <- drain(s) }()
		must(b, c.Handshake())
		out, begun, used := NewWriter(&c), time.Now(), processCPU()
		for range total / batch {
			must(b, out.Write(Frame{Type: Pages, Count: 1, Body: body}))
		}
		must(b, c.Close())
		must(b, <-ended)
		b.ReportMetric(total/1e6/time.Since(begun).Seconds(), "MB/s")
		b.ReportMetric((processCPU()-used).Seconds()*(1<<30)/total, "cpu-s/GiB")
	}
}

// drain reads frames until the connection ends.
func drain(c Conn) error {
	r := NewReader(&c)
	for {
		if _, err := r.Read(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func processCPU() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // it knows the constant
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
