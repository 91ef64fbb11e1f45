package main

import (
	"os"
	"testing"
)

func TestWarmedMemoryIsGivenBack(t *testing.T) {
	before, err := ownBytes(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := warm(); err != nil {
		t.Fatal(err)
	}
	after, err := ownBytes(os.Getpid())
	if err != nil || after > before+warmBytes/4 {
		t.Errorf("%d MiB before, %d MiB after, %v; want about the same", before>>20, after>>20, err)
	}
}
