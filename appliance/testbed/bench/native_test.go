package main

import (
	"encoding/json"
	"testing"

	"bumpless/migrate/qmp"
)

func TestStatusOfAMigrationIsReadFromItsEvent(t *testing.T) {
	for _, c := range []struct{ name, data, want string }{
		{"MIGRATION", `{"status":"cancelled"}`, "cancelled"},
		{"MIGRATION_PASS", `{"pass":1}`, "MIGRATION_PASS"},
		{"STOP", ``, "STOP"},
	} {
		if got := status(qmp.Event{Name: c.name, Data: json.RawMessage(c.data)}); got != c.want {
			t.Errorf("status(%s %s) = %q; want %q", c.name, c.data, got, c.want)
		}
	}
}
