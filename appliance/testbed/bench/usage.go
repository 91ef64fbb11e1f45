package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ticksPerS of /proc/PID/stat: USER_HZ is 100 on every architecture that Linux
// and QEMU share (sysconf(3), _SC_CLK_TCK).
const ticksPerS = 100

// cpuSeconds that a process has used, in all its threads, user and system.
func cpuSeconds(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read the CPU time of process %d: %w", pid, err)
	}
	return parseCPU(string(b))
}

// vcpuSeconds that a QEMU's vCPUs have used: of its threads, those that are named for
// one (package guest has QEMU name them).
func vcpuSeconds(pid int) (sum float64, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*", pid))
	if err != nil {
		return 0, err
	}
	vcpus := 0
	for _, task := range tasks {
		b, err := os.ReadFile(filepath.Join(task, "stat"))
		if err != nil || !strings.Contains(string(b), "("+vcpuName) {
			continue // it has ended, or is none
		}
		s, err := parseCPU(string(b))
		if err != nil {
			return 0, err
		}
		sum += s
		vcpus++
	}
	if vcpus == 0 {
		return 0, fmt.Errorf("read the CPU time of process %d: no thread is called %q", pid, vcpuName)
	}
	return sum, nil
}

// vcpuName begins QEMU's name for the thread of a vCPU: "CPU 0/TCG".
const vcpuName = "CPU "

// parseCPU reads utime and stime, fields 14 and 15 of proc_pid_stat(5). The
// second field may hold anything, also blanks and brackets.
func parseCPU(stat string) (float64, error) {
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(f) < 13 {
		return 0, fmt.Errorf("read CPU time: %q has too few fields", stat)
	}
	user, err1 := strconv.ParseFloat(f[11], 64)
	system, err2 := strconv.ParseFloat(f[12], 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("read CPU time: %q: fields 14 and 15 are not numbers", stat)
	}
	return (user + system) / ticksPerS, nil
}

// machineSeconds that all CPUs have been busy, for anybody.
func machineSeconds() (float64, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("read the machine's CPU time: %w", err)
	}
	return parseMachine(string(b))
}

// parseMachine sums the first line of proc_stat(5) without idle, iowait and what
// guests used, which user has already.
func parseMachine(stat string) (float64, error) {
	line, _, _ := strings.Cut(stat, "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, fmt.Errorf("read the machine's CPU time: /proc/stat begins with %q", line)
	}
	var sum float64
	for _, i := range []int{1, 2, 3, 6, 7, 8} { // user, nice, system, irq, softirq, steal
		n, err := strconv.ParseFloat(f[i], 64)
		if err != nil {
			return 0, fmt.Errorf("read the machine's CPU time: %w", err)
		}
		sum += n
	}
	return sum / ticksPerS, nil
}

// ownBytes of a process's memory: RssAnon and RssFile of proc_pid_status(5). (VmHWM
// would be the peak, but counts a guest's memory that is mapped; the maxrss of wait4
// counts what the parent had when it forked, too.)
func ownBytes(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	return parseOwn(string(b))
}

func parseOwn(status string) (int64, error) {
	var sum int64
	found := 0
	for _, line := range strings.Split(status, "\n") {
		name, rest, _ := strings.Cut(line, ":")
		if name != "RssAnon" && name != "RssFile" {
			continue
		}
		kib, err := strconv.ParseInt(strings.Fields(rest + " x")[0], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the memory of a process: %w", err)
		}
		sum += kib << 10
		found++
	}
	if found != 2 {
		return 0, errors.New("read the memory of a process: no RssAnon and RssFile (has it ended?)")
	}
	return sum, nil
}

// peakInterval: what a process has for less than that, or at its end, may not be seen.
const peakInterval = 50 * time.Millisecond

// watchPeak follows a process's peak memory until done is closed.
func watchPeak(pid int, done <-chan struct{}) (peak func() int64) {
	var mu sync.Mutex
	var most int64
	look := func() {
		if n, err := ownBytes(pid); err == nil { // it may just have ended
			mu.Lock()
			most = max(most, n)
			mu.Unlock()
		}
	}
	go func() {
		ticker := time.NewTicker(peakInterval)
		defer ticker.Stop()
		for {
			look()
			select {
			case <-ticker.C:
			case <-done:
				return
			}
		}
	}()
	return func() int64 {
		mu.Lock()
		defer mu.Unlock()
		return most
	}
}
