package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// warmBytes are more than two gateways and a load take of a machine's free memory
// during a migration.
const warmBytes = 384 << 20

// warm has so much of the machine's free memory be there: it is taken, and given back.
// A virtual machine whose own host takes free memory back (free page reporting) waits
// for 10 µs for each page that it uses after that, and for 1 µs else: what a migration
// then takes depends on how long ago what was done with the memory that it gets.
func warm() error {
	b, err := unix.Mmap(-1, 0, warmBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("warm the machine's memory: %w", err)
	}
	if err := unix.Madvise(b, unix.MADV_POPULATE_WRITE); err != nil {
		return fmt.Errorf("warm the machine's memory: %w", err)
	}
	if err := unix.Munmap(b); err != nil {
		return fmt.Errorf("warm the machine's memory: %w", err)
	}
	return nil
}
