package certs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A vault is a memfd with this proxy's certificates and keys. The agent takes a descriptor once and
// holds it for the next process; it never reads it. The content changes in place:
//
//	magic | two heads of {generation, offset, length, SHA-256 of these three and the content} | contents
//
// The content is written beside the current one, then the older head over. A reader takes the newest
// head whose sum is right, so neither a writer that was killed nor one that is at work spoils it.
type vault struct {
	dirty chan struct{}

	mu    sync.Mutex
	file  *os.File // nil: closed
	heads [2]head
}

type head struct {
	generation, offset, length uint64
	sum                        [sha256.Size]byte
}

const (
	vaultMagic = "ambit v1"
	headSize   = 24 + sha256.Size
	headsEnd   = int64(len(vaultMagic) + 2*headSize)
	maxVault   = 64 << 20 // bytes of content
)

// ErrVault says that a memfd holds nothing whole.
var ErrVault = errors.New("no whole state in the memory file")

func newVault() (*vault, error) {
	const name = "ambit-ztunnel"
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before 6.3
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("make memory file: %w", err)
	}
	v := &vault{file: os.NewFile(uintptr(fd), name), dirty: make(chan struct{}, 1)}
	if err := v.write(nil); err != nil {
		v.close()
		return nil, err
	}
	return v, nil
}

// touch asks for a new export.
func (v *vault) touch() {
	select {
	case v.dirty <- struct{}{}:
	default:
	}
}

// run writes what export gives after each touch, until ctx ends.
func (v *vault) run(ctx context.Context, export func() []byte, failed func(error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.dirty:
		}
		if err := v.write(export()); err != nil { // the older content stays
			failed(err)
		}
	}
}

// write replaces the content.
func (v *vault) write(content []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.file == nil {
		return os.ErrClosed
	}
	cur, old := 0, 1
	if v.heads[1].generation > v.heads[0].generation {
		cur, old = 1, 0
	}
	h := head{generation: v.heads[cur].generation + 1, length: uint64(len(content)), offset: uint64(headsEnd)}
	if c := v.heads[cur]; c.generation > 0 && h.offset+h.length > c.offset {
		h.offset = c.offset + c.length
	}
	h.sum = h.check(content)
	if _, err := v.file.WriteAt(content, int64(h.offset)); err != nil {
		return fmt.Errorf("write memory file: %w", err)
	}
	v.heads[old] = h
	if _, err := v.file.WriteAt(h.bytes(), int64(len(vaultMagic)+old*headSize)); err != nil {
		return fmt.Errorf("write memory file: %w", err)
	}
	_, err := v.file.WriteAt([]byte(vaultMagic), 0)
	return err
}

func (h head) bytes() []byte {
	b := make([]byte, 0, headSize)
	for _, n := range []uint64{h.generation, h.offset, h.length} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return append(b, h.sum[:]...)
}

func (h head) check(content []byte) [sha256.Size]byte {
	s := sha256.New()
	s.Write(h.bytes()[:24])
	s.Write(content)
	return [sha256.Size]byte(s.Sum(nil))
}

func (v *vault) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.file != nil {
		v.file.Close()
		v.file = nil
	}
}

// readVault returns the newest whole content of another process's vault.
func readVault(f io.ReaderAt) ([]byte, error) {
	top := make([]byte, headsEnd)
	if _, err := f.ReadAt(top, 0); err != nil || !bytes.HasPrefix(top, []byte(vaultMagic)) {
		return nil, ErrVault
	}
	var best head
	var content []byte
	for i := range 2 {
		h := parseHead(top[len(vaultMagic)+i*headSize:])
		if h.generation <= best.generation {
			continue
		}
		if b, ok := h.read(f); ok {
			best, content = h, b
		}
	}
	if best.generation == 0 {
		return nil, ErrVault
	}
	return content, nil
}

func parseHead(b []byte) head {
	return head{
		generation: binary.BigEndian.Uint64(b), offset: binary.BigEndian.Uint64(b[8:]), length: binary.BigEndian.Uint64(b[16:]),
		sum: [sha256.Size]byte(b[24:headSize]),
	}
}

// read returns the content that h describes, if it is whole.
func (h head) read(f io.ReaderAt) ([]byte, bool) {
	if h.length > maxVault || h.offset > 4*maxVault {
		return nil, false
	}
	var b bytes.Buffer // grows with what is there, whatever the head claims
	n, err := io.Copy(&b, io.NewSectionReader(f, int64(h.offset), int64(h.length)))
	if err != nil || uint64(n) != h.length || h.check(b.Bytes()) != h.sum {
		return nil, false
	}
	return b.Bytes(), true
}
