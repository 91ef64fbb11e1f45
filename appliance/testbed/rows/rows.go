// Package rows keeps what a long measurement has found so far on disk: a JSON
// array with one row a line, written anew after each, so that what is interrupted
// loses nothing and can go on.
package rows

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// File of rows, in a folder that is this run's alone.
type File[Row any] struct {
	Rows []Row
	path string
	lock *os.File
}

// Open takes the folder. The rows of an earlier run are kept when resume is set,
// and replaced by the first new one otherwise.
func Open[Row any](dir, name string, resume bool) (*File[Row], error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	f := &File[Row]{path: filepath.Join(dir, name), lock: lock}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another run writes to %s (choose another folder with -out): %w", dir, err)
	}
	if resume {
		if f.Rows, err = Read[Row](f.path); err != nil {
			lock.Close()
			return nil, err
		}
	}
	return f, nil
}

// Path of the file.
func (f *File[Row]) Path() string { return f.path }

// Close gives the folder back.
func (f *File[Row]) Close() { f.lock.Close() }

// Read returns the rows of a file; none when there is no such file.
func Read[Row any](path string) ([]Row, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var rows []Row
	if err := json.Unmarshal(b, &rows); err != nil {
		return nil, fmt.Errorf("read the rows of %s: %w", path, err)
	}
	return rows, nil
}

// Add appends a row and writes all of them.
func (f *File[Row]) Add(row Row) error {
	f.Rows = append(f.Rows, row)
	b := []byte("[\n")
	for i, row := range f.Rows {
		line, err := json.Marshal(row)
		if err != nil {
			return err
		}
		if i > 0 {
			b = append(b, ",\n"...)
		}
		b = append(b, line...)
	}
	return Replace(f.path, append(b, "\n]\n"...))
}

// Replace writes a file whole or not at all.
func Replace(path string, b []byte) error {
	if err := os.WriteFile(path+".new", b, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
