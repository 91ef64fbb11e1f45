// Command protguest is the protection guest: the init, and mostly the only
// program, of a virtual machine that behaves like a protection relay as far as the
// outside can see.
//
//   - It publishes GOOSE at a fixed period, from a process of its own.
//   - It subscribes to a Sampled Values stream and counts the samples.
//   - It dirties memory in a pattern in which every page proves itself, and
//     keeps verifying it.
//   - If it has a disk, it does the same there, with every write flushed.
//   - If it is told to, it runs a load of real programs beside all that: a
//     database, a key-value store, a compiler, out of a read-only userland.
//
// What it finds goes out in its GOOSE data set (package protection), so that
// whoever listens on the station bus needs no other way in.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"
	"unsafe"

	"bumpless/appliance/testbed/protection"
	"bumpless/iec61850/ether"

	"golang.org/x/sys/unix"
)

func main() {
	role := run
	if len(os.Args) > 1 && os.Args[1] == publisherRole {
		role = runPublisher
	}
	if err := role(); err != nil {
		fmt.Println("protguest: FAILED:", err)
		time.Sleep(time.Second) // let the serial port drain
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	}
	select {}
}

func run() error {
	// The garbage collector must not stop the world more often than it has to:
	// nothing here allocates much.
	debug.SetGCPercent(400)
	// More than there are CPUs: the subscriber must not wait for a writer's
	// time slice to end, the kernel shares the CPU more finely.
	runtime.GOMAXPROCS(8)
	if err := mountAll(); err != nil {
		return err
	}
	settings, err := readSettings()
	if err != nil {
		return err
	}
	if err := loadModules(); err != nil {
		return err
	}
	if err := ether.Up("eth0"); err != nil {
		return err
	}
	shared, state, err := shareCounters()
	if err != nil {
		return err
	}
	state.bootID.Store(bootID())
	if err := startDirtying(settings, state); err != nil {
		return err
	}
	if err := startDisk(settings, state); err != nil {
		return err
	}
	if err := startLoad(settings, state); err != nil {
		return err
	}
	if err := startSubscriber(settings, state); err != nil {
		return err
	}
	if err := startPublisher(shared); err != nil {
		return err
	}
	fmt.Printf("protguest: READY boot=%08x regions=%d period=%s\n", state.bootID.Load(), len(settings.Dirty), settings.GoosePeriod)
	return nil
}

func readSettings() (protection.Settings, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return protection.Settings{}, err
	}
	return protection.ParseCommandLine(string(line))
}

func bootID() uint32 {
	var b [4]byte
	// Before the pool is full the kernel gives what it has (GRND_INSECURE):
	// an id that differs from the last boot's is all that is needed.
	if _, err := unix.Getrandom(b[:], unix.GRND_INSECURE); err != nil {
		return uint32(time.Now().UnixNano())
	}
	return *(*uint32)(unsafe.Pointer(&b))
}
