package direct

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// gate is the memory that the kernel's hooks look at: the snapshot's generation, and until when this proxy
// answers for its verdicts. Safe for concurrent use.
type gate struct {
	mu         sync.Mutex
	mem        []byte // nil: none was offered
	generation uint64
}

// open maps the array behind fd and writes the generation. The lease stays as it is: none.
func (g *gate) open(fd int) error {
	mem, err := unix.Mmap(fd, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the gate: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	err = g.unmap()
	g.mem = mem
	g.word(0).Store(g.generation)
	return err
}

// raise sets the generation. From then on earlier verdicts are void.
func (g *gate) raise(generation uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.generation = generation
	if g.mem != nil {
		g.word(0).Store(generation)
	}
}

// renew answers for the verdicts for some time from now on. The generation is written again: a proxy before
// this one may have written its own after it had lost its place.
func (g *gate) renew(d time.Duration) error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("read the clock: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mem == nil {
		return errors.New("there is no gate")
	}
	g.word(0).Store(g.generation)
	g.word(1).Store(uint64(now.Nano() + d.Nanoseconds()))
	return nil
}

// close ends the lease and lets go of the memory. While another proxy is in charge nothing is written to it.
func (g *gate) close(ours bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mem != nil && ours {
		g.word(1).Store(0)
	}
	return g.unmap()
}

func (g *gate) unmap() error {
	if g.mem == nil {
		return nil
	}
	mem := g.mem
	g.mem = nil
	if err := unix.Munmap(mem); err != nil {
		return fmt.Errorf("unmap the gate: %w", err)
	}
	return nil
}

// word is one of the gate's two words, aligned as a page is.
func (g *gate) word(i int) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&g.mem[8*i])) }
