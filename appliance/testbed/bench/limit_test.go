package main

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"bumpless/appliance/testbed/protection"
)

func pages(n int, seed uint64) []byte {
	b := make([]byte, n*protection.PageSize)
	random := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = random.Read(b) // it never fails
	return b
}

func limitOfBytes(t *testing.T, memory ...[]byte) int64 {
	t.Helper()
	n, err := limitOf(bytes.NewReader(bytes.Join(memory, nil)), func([]byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLimitCountsEachContentOnceAndZeroPagesNot(t *testing.T) {
	zero, a, b := make([]byte, 100*protection.PageSize), pages(3, 1), pages(20, 2)
	if n := limitOfBytes(t, zero); n != 0 {
		t.Errorf("limit of zero pages = %d; want 0", n)
	}
	one := limitOfBytes(t, a)
	if one != int64(len(a)) { // noise does not compress
		t.Errorf("limit of %d bytes of noise = %d", len(a), one)
	}
	if n := limitOfBytes(t, a, zero, a, a); n != one {
		t.Errorf("limit of three times the same = %d; want %d", n, one)
	}
	if n := limitOfBytes(t, a, b); n != int64(len(a)+len(b)) {
		t.Errorf("limit of more than a batch = %d; want %d", n, len(a)+len(b))
	}
}

func TestLimitIsCompressed(t *testing.T) {
	text := bytes.Repeat([]byte("a frame of the station bus; "), 10*protection.PageSize/28+1)[:10*protection.PageSize]
	if n := limitOfBytes(t, text); n == 0 || n > int64(len(text))/4 {
		t.Errorf("limit of %d bytes of repetitive text = %d", len(text), n)
	}
}

func TestLimitOfHalfAPageIsAnError(t *testing.T) {
	if _, err := limitOf(bytes.NewReader(make([]byte, protection.PageSize+1)), func([]byte) error { return nil }); err == nil {
		t.Error("no error")
	}
}
