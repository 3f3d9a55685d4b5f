package zds

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// oddRights is a control message whose payload is no whole number of descriptors.
func oddRights() []byte {
	b := unix.UnixRights(1, 2)
	(*[8]byte)(b)[0]-- // the length of the header, little-endian here
	return b
}

func TestOddRightsAreRefused(t *testing.T) {
	if fds, err := rights(oddRights()); !errors.Is(err, ErrProtocol) {
		t.Errorf("descriptors %v, error %v", fds, err)
	}
}

func FuzzRights(f *testing.F) {
	f.Add(unix.UnixRights())
	f.Add(oddRights())
	f.Add([]byte{1, 2, 3})
	f.Add(unix.UnixCredentials(&unix.Ucred{Pid: 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		// Parsed only, never closed: the numbers are made up.
		if _, err := rights(b); err != nil && !errors.Is(err, ErrProtocol) {
			t.Errorf("unexpected error: %v", err)
		}
	})
}
