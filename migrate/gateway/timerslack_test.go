package gateway

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestAllThreadsOfAGatewayHaveTheirTimersSlack(t *testing.T) {
	const usual = 50 * time.Microsecond
	defer slackTimers(usual)
	for _, want := range []time.Duration{timerSlack, usual} {
		slackTimers(want)
		tasks, err := os.ReadDir("/proc/self/task")
		must(t, err)
		for _, task := range tasks {
			b, err := os.ReadFile(timerSlackPath(task.Name()))
			must(t, err)
			if ns, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err != nil || time.Duration(ns) != want {
				t.Errorf("thread %s has a slack of %q, %v; want %v", task.Name(), b, err, want)
			}
		}
	}
}
