package main

import (
	"runtime/debug"
	"testing"
)

func TestTheVersionNamesTheCommitThatItWasBuiltFrom(t *testing.T) {
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "c4264c246a5645a7ae8e7284d9461950cdcd1be1"}
	at := debug.BuildSetting{Key: "vcs.time", Value: "2026-11-30T20:25:14Z"}
	for _, c := range []struct {
		settings []debug.BuildSetting
		want     string
	}{
		{nil, "0.1.0"},
		{[]debug.BuildSetting{{Key: "GOARCH", Value: "amd64"}}, "0.1.0"},
		{[]debug.BuildSetting{revision}, "0.1.0 (commit c4264c246a56)"},
		{[]debug.BuildSetting{revision, at, {Key: "vcs.modified", Value: "false"}}, "0.1.0 (commit c4264c246a56 of 2026-11-30T20:25:14Z)"},
		{[]debug.BuildSetting{revision, at, {Key: "vcs.modified", Value: "true"}}, "0.1.0 (commit c4264c246a56 of 2026-11-30T20:25:14Z, with changes that are not committed)"},
		{[]debug.BuildSetting{{Key: "vcs.revision", Value: "ab"}}, "0.1.0 (commit ab)"},
	} {
		if got := versionOf("0.1.0", c.settings); got != c.want {
			t.Errorf("versionOf(%v) = %q; want %q", c.settings, got, c.want)
		}
	}
}
