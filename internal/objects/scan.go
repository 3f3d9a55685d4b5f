package objects

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stamp tells whether a file changed. Symbolic links are followed: a swapped link is another inode.
type stamp struct {
	dev, ino uint64
	size     int64
	mtime    time.Time
}

func stampOf(fi fs.FileInfo) stamp {
	s := stamp{size: fi.Size(), mtime: fi.ModTime()}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		s.dev, s.ino = st.Dev, st.Ino
	}
	return s
}

// settled reports whether the file was left alone for a while. A clock that jumped counts as settled.
func (s stamp) settled(now time.Time, quiet time.Duration) bool {
	age := now.Sub(s.mtime)
	return age >= quiet || age < 0
}

// wanted reports whether a name may be a file of objects: editors write hidden files, backups and locks.
func wanted(name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") {
		return false
	}
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// scan returns the stamps of the directory's files; a file that went away meanwhile is not among them.
func scan(dir string) (map[string]stamp, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read directory: %w", err)
	}
	found := make(map[string]stamp, len(entries))
	for _, e := range entries {
		if !wanted(e.Name()) {
			continue
		}
		fi, err := os.Stat(filepath.Join(dir, e.Name()))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // removed, or a link into nothing (an editor's lock, a swap under way)
		case err != nil:
			return nil, fmt.Errorf("read directory: %w", err)
		case fi.Mode().IsRegular():
			found[e.Name()] = stampOf(fi)
		}
	}
	return found, nil
}

var errMoving = errors.New("changed while it was read")

// readFile returns the content that belongs to the stamp, or errMoving.
func readFile(path string, want stamp, limit int64) ([]byte, error) {
	if want.size > limit {
		return nil, fmt.Errorf("read file of %d bytes: %w (limit %d)", want.size, errTooLarge, limit)
	}
	// Not blocking: between the stat and here the name may have become a FIFO.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	defer f.Close() // nothing was written
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	if stampOf(fi) != want || int64(len(data)) != want.size {
		return nil, fmt.Errorf("read file: %w", errMoving)
	}
	return data, nil
}
