package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"bumpless/migrate/gateway"
	"bumpless/migrate/policy"
)

// wakings is how long each guest was not heard after it ran on this host, in its last
// moves (policy.Waking). It outlives the daemon, in one file of the state directory. A
// file that is lost or damaged costs knowledge that moves bring back, nothing else.
type wakings struct {
	path string

	mu     sync.Mutex
	guests map[string]policy.Waking
}

// wakingVersion of the file, apart from the release.
const wakingVersion = 1

// maxWakingFile bounds it, in bytes: 64 guests of 5 numbers and a name.
const maxWakingFile = 64 << 10

type wakingFile struct {
	Version int                      `json:"version"`
	Guests  map[string]policy.Waking `json:"guests"` // in ms, oldest first
}

// open the file, which need not be there. w is of use after an error, too.
func (w *wakings) open(path string) error {
	w.path, w.guests = path, map[string]policy.Waking{}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		defer f.Close()
		err = w.read(f)
	}
	if err != nil {
		return fmt.Errorf("read how long guests were not heard after their moves: %s: %w", path, err)
	}
	return nil
}

func (w *wakings) read(r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, maxWakingFile+1))
	if err != nil {
		return err
	}
	if len(b) > maxWakingFile {
		return fmt.Errorf("more than %d bytes", maxWakingFile)
	}
	var file wakingFile
	if err := json.Unmarshal(b, &file); err != nil {
		return err
	}
	if file.Version != wakingVersion {
		return fmt.Errorf("version %d, this release understands %d", file.Version, wakingVersion)
	}
	for guest, list := range file.Guests {
		for _, ms := range list {
			w.guests[guest] = w.guests[guest].Add(min(ms, gateway.MaxWakingMs))
		}
	}
	return nil
}

// keep so many ms of the guest's budget; standard is the site's.
func (w *wakings) keep(guest string, standard int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.guests[guest].Keep(standard)
}

// add what was measured, and write the file. Guests that the site does not know any
// more are dropped from it.
func (w *wakings) add(guest string, ms int, known func(guest string) bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.guests[guest] = w.guests[guest].Add(min(ms, gateway.MaxWakingMs))
	for g := range w.guests {
		if !known(g) {
			delete(w.guests, g)
		}
	}
	b, err := json.Marshal(wakingFile{wakingVersion, w.guests})
	if err == nil {
		err = os.WriteFile(w.path+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(w.path+".new", w.path)
	}
	if err != nil {
		return fmt.Errorf("note how long guest %s was not heard: %w", guest, err)
	}
	return nil
}

// budgetText of a move, for whoever asks first.
func budgetText(budgetMs, wakingMs int) string {
	if wakingMs == 0 {
		return fmt.Sprintf("%d ms", budgetMs)
	}
	return fmt.Sprintf("%d ms, %d of them kept until it is heard there", budgetMs, wakingMs)
}
