package main

import "runtime/debug"

// release is what this program is a version of; a release's build may set it by
// the linker (-X main.release=…).
var release = "0.1.0-dev"

// version says also which commit the program was built from, as Go noted it:
// two builds of one release can differ.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release
	}
	return versionOf(release, info.Settings)
}

func versionOf(release string, settings []debug.BuildSetting) string {
	noted := map[string]string{}
	for _, s := range settings {
		noted[s.Key] = s.Value
	}
	commit := noted["vcs.revision"]
	if commit == "" { // built outside a checkout, or without git
		return release
	}
	text := release + " (commit " + commit[:min(len(commit), 12)]
	if at := noted["vcs.time"]; at != "" {
		text += " of " + at
	}
	if noted["vcs.modified"] == "true" {
		text += ", with changes that are not committed"
	}
	return text + ")"
}
