// Package qmptest answers a QMP client in tests in place of QEMU.
package qmptest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// Command is what a client asks for.
type Command struct {
	Execute   string
	Arguments map[string]any
}

// Serve is a monitor at the socket path, whose directory it makes, until the test ends
// or stop is called. answer returns the JSON that a command returns, "" for {}, or an
// error, whose text becomes the description of a GenericError; it may be called by
// several connections at a time. The capabilities are negotiated without it.
func Serve(t testing.TB, path string, answer func(Command) (string, error)) (stop func()) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stop = func() { l.Close() }
	t.Cleanup(stop)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go converse(c, answer)
		}
	}()
	return stop
}

func converse(c net.Conn, answer func(Command) (string, error)) {
	defer c.Close()
	fmt.Fprintln(c, `{"QMP": {"version": {}, "capabilities": []}}`)
	for lines := bufio.NewScanner(c); lines.Scan(); {
		var command Command
		if json.Unmarshal(lines.Bytes(), &command) != nil {
			return
		}
		fmt.Fprintln(c, line(command, answer))
	}
}

func line(command Command, answer func(Command) (string, error)) string {
	var result string
	var err error
	if command.Execute != "qmp_capabilities" {
		result, err = answer(command)
	}
	switch {
	case err != nil:
		return fmt.Sprintf(`{"error": {"class": "GenericError", "desc": %q}}`, err)
	case result == "":
		result = "{}"
	}
	return `{"return": ` + result + `}`
}
