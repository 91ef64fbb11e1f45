package gateway

import (
	"fmt"
	"os"
	"time"
)

// timerSlack of a gateway's threads. Go's runtime looks after its threads from one of
// its own (sysmon), which sleeps for 20 µs at a time while there is work, and Linux has
// it wake some 50 µs later: 14,000 times a second, of which each is an interrupt and two
// switches. On two cores of a virtual machine that was a fifth of the CPU time of an idle
// guest's move. With slack it wakes a thousand times. What a gateway waits for itself
// is as late, at most: Go's own timers wait for whole milliseconds (epoll_wait), and the
// margin of a budget is 20 of them and more.
const timerSlack = time.Millisecond

// slackTimers of all threads of this process; new ones have what those have that make
// them (prctl(2), PR_SET_TIMERSLACK). Where the kernel refuses it costs CPU time only.
func slackTimers(slack time.Duration) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range tasks {
		_ = os.WriteFile(timerSlackPath(t.Name()), fmt.Append(nil, slack.Nanoseconds()), 0)
	}
}

// timerSlackPath is for processes (proc(5)), but takes the number of any thread.
func timerSlackPath(thread string) string { return "/proc/" + thread + "/timerslack_ns" }
