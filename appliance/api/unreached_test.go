package api

import (
	"net/url"
	"strings"
	"syscall"
	"testing"
)

// Permission is tested on the error: root, who may run the tests, is refused no socket.
func TestASocketThatOthersMayNotUseSaysWhoMay(t *testing.T) {
	c := NewLocalClient("/run/bumpless/api.sock")
	got := c.unreached("status", &url.Error{Op: "Post", URL: "http://bumpless/v1/status", Err: syscall.EACCES}).Error()
	if want := "only root may use /run/bumpless/api.sock: be root, or say --host NAME --cert FILE"; got != want {
		t.Errorf("unreached(EACCES) = %q; want %q", got, want)
	}
}

func TestAHostThatTheSiteFileDoesNotHaveIsNamed(t *testing.T) {
	err := NewAbsentClient("host-z").try("status")
	if err == nil || !strings.HasPrefix(err.Error(), "status on host-z: this host's site file does not have it") {
		t.Errorf("status = %v; want host-z named, and no address", err)
	}
}
