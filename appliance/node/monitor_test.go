package node

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// fakeMonitor is the monitor of a copy. answer has a command's name and returns the
// line that answers it.
func fakeMonitor(t *testing.T, path string, answer func(command string) string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go converse(c, answer)
		}
	}()
}

func converse(c net.Conn, answer func(command string) string) {
	defer c.Close()
	fmt.Fprintln(c, `{"QMP": {"version": {}, "capabilities": []}}`)
	for lines := bufio.NewScanner(c); lines.Scan(); {
		var command struct{ Execute string }
		if json.Unmarshal(lines.Bytes(), &command) != nil {
			return
		}
		fmt.Fprintln(c, answer(command.Execute))
	}
}
