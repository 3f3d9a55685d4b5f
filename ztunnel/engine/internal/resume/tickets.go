package resume

import (
	"crypto/rand"
	"time"
)

// tickets is the keys that a server's tickets are sealed by. A ticket that a client keeps for long, since
// the lifetime that crypto/tls names is a week, is good for one to two times longest.
type tickets struct {
	keys  [2][32]byte // the one to seal by, and the one before it
	since time.Time   // of the first
}

// at returns the keys as they are to be now.
func (t *tickets) at(now time.Time) [][32]byte {
	switch age := now.Sub(t.since); {
	case age >= 2*longest || age < 0:
		t.keys = [2][32]byte{newKey(), newKey()}
		t.since = now
	case age >= longest:
		t.keys[0], t.keys[1] = newKey(), t.keys[0]
		t.since = now
	}
	return t.keys[:]
}

func newKey() (k [32]byte) {
	_, _ = rand.Read(k[:]) // never fails
	return k
}
