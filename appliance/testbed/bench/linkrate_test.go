package main

import (
	"net"
	"testing"
	"time"
)

func TestARateIsCountedAfterTheFirstBurst(t *testing.T) {
	sender, receiver := net.Pipe()
	defer sender.Close()
	defer receiver.Close()
	const burst, chunk, every = 8 << 20, 10_000, 10 * time.Millisecond
	go func() {
		_, err := sender.Write(make([]byte, burst))
		for err == nil {
			time.Sleep(every)
			_, err = sender.Write(make([]byte, chunk))
		}
	}()
	rate, err := receiveFor(receiver, 500*time.Millisecond)
	if want := 1e6; err != nil || rate > want || rate < want/4 {
		t.Errorf("receiveFor() = %.0f bytes/s, %v; want at most %.0f, and near it", rate, err, want)
	}
}

func TestAConnectionThatEndsHasNoRate(t *testing.T) {
	sender, receiver := net.Pipe()
	sender.Close()
	if _, err := receiveFor(receiver, time.Second); err == nil {
		t.Error("no error")
	}
}
