package objects

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// stamp tells whether a file changed. Symbolic links are followed: a swapped link is another inode.
type stamp struct {
	dev, ino uint64
	size     int64
	mtime    time.Time
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{dev: st.Dev, ino: st.Ino, size: st.Size, mtime: time.Unix(st.Mtim.Unix())}
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
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("read directory: %w", err)
	}
	defer f.Close() // nothing was written
	return scanOpen(f)
}

// scanOpen looks names up in the open directory and never by its path: were that moved away meanwhile, each
// of its files would seem to be removed, and with them the policies that they hold.
func scanOpen(dir *os.File) (map[string]stamp, error) {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("read directory: %w", err)
	}
	found := make(map[string]stamp, len(names))
	for _, name := range names {
		if !wanted(name) {
			continue
		}
		var st unix.Stat_t
		err := unix.Fstatat(int(dir.Fd()), name, &st, 0)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // removed, or a link into nothing (an editor's lock, a swap under way)
		case err != nil:
			return nil, fmt.Errorf("read directory: %s: %w", name, err)
		case st.Mode&unix.S_IFMT == unix.S_IFREG:
			found[name] = stampOf(&st)
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
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	defer f.Close() // nothing was written
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	if stampOf(&st) != want || int64(len(data)) != want.size {
		return nil, fmt.Errorf("read file: %w", errMoving)
	}
	return data, nil
}
