package agent

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/agent/netns"
	"github.com/ambitmesh/ambit/agent/zds"
)

// heirs are proxies, each with a file for its state, and what each was given: inodes of others' files.
type heirs struct {
	*testing.T
	own   map[string]*os.File
	given map[string][]uint64
}

func (h *heirs) proxy(instance string, started uint64) *session {
	h.Helper()
	f, err := os.Create(filepath.Join(h.TempDir(), instance))
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = f.Close() })
	h.own[instance] = f
	return &session{Session: &zds.Session{Hello: zds.Hello{Instance: instance}}, started: started}
}

func (h *heirs) hand(to *session, state int) int {
	h.Helper()
	if state >= 0 {
		h.given[to.Hello.Instance] = append(h.given[to.Hello.Instance], h.inode(os.NewFile(uintptr(h.dup(state)), "state")))
	}
	return h.dup(int(h.own[to.Hello.Instance].Fd()))
}

func (h *heirs) dup(fd int) int {
	h.Helper()
	d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		h.Fatal(err)
	}
	return d
}

func (h *heirs) inode(f *os.File) uint64 {
	h.Helper()
	ino, err := netns.InodeOf(f)
	if err != nil {
		h.Fatal(err)
	}
	return ino
}

// TestInheritance: a newer proxy gets the older one's state, whichever calls first: after the agent's restart
// they call in any order, and one without certificates would refuse what its pods begin.
func TestInheritance(t *testing.T) {
	for name, order := range map[string][]int{"in order": {0, 1}, "the newer one first": {1, 0}, "the older one again": {0, 1, 0}} {
		t.Run(name, func(t *testing.T) {
			h := &heirs{t, map[string]*os.File{}, map[string][]uint64{}}
			proxies := []*session{h.proxy("old", 1), h.proxy("new", 2)}
			v := vault{fd: -1}
			defer v.close()
			for _, i := range order {
				v.pass(proxies[i], h.hand)
			}
			old := h.inode(h.own["old"])
			if got := h.given["new"]; len(got) == 0 || got[len(got)-1] != old {
				t.Errorf("the newer one was given %v, not %d", got, old)
			}
			if len(h.given["old"]) != 0 {
				t.Error("the older one inherited from the newer one")
			}
			if v.of != proxies[1] || h.inode(os.NewFile(uintptr(h.dup(v.fd)), "held")) != h.inode(h.own["new"]) {
				t.Error("what is held is not the newer one's")
			}
		})
	}
}
