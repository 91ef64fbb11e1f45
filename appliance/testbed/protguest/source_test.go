package main

import (
	"os/exec"
	"strings"
	"testing"
)

func TestEachSourceIsValidCAndTheSameAtEachBoot(t *testing.T) {
	for i := range sourceFiles {
		text := source(i)
		if text != source(i) || text == source(i+1) {
			t.Errorf("source(%d) is not the same each time, or the next one's", i)
		}
		gcc := exec.Command("gcc", "-std=c11", "-fsyntax-only", "-Wall", "-Werror", "-xc", "-")
		gcc.Stdin = strings.NewReader(text)
		if out, err := gcc.CombinedOutput(); err != nil {
			t.Errorf("source(%d): %v: %.500s", i, err, out)
		}
	}
}
