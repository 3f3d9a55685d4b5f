package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"structs"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

// Ended is a direct connection that has ended.
type Ended struct {
	Account
	Port           uint16 // the caller's
	At             time.Time
	Life           time.Duration
	Sent, Received uint64 // bytes, as the caller sees them
}

// EndedFlows reads at most so many of those that ended since the last call. It does not wait. Only one may read
// at a time.
func (m *Mesh) EndedFlows(most int) ([]Ended, error) {
	if m.ended == nil {
		r, err := ringbuf.NewReader(m.obj.DirectEnded)
		if err != nil {
			return nil, fmt.Errorf("open ended flows: %w", err)
		}
		m.ended = r
	}
	mono, err := Monotonic()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	m.ended.SetDeadline(now)
	var out []Ended
	var rec ringbuf.Record
	for len(out) < most {
		err := m.ended.ReadInto(&rec)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return out, fmt.Errorf("read ended flows: %w", err)
		}
		if e, ok := endedOf(rec.RawSample); ok {
			out = append(out, e.at(now, mono))
		}
	}
	return out, nil
}

// Monotonic is the clock of DirectFlow.Opened.
func Monotonic() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0, fmt.Errorf("read the clock: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// endedRecord is struct ended of direct.h.
type endedRecord struct {
	_                              structs.HostLayout
	Account                        meshAccountKey
	Opened, Closed, Sent, Received uint64
	Port, Zero                     uint32
}

func endedOf(b []byte) (e endedRecord, ok bool) {
	n, err := binary.Decode(b, binary.NativeEndian, &e)
	return e, err == nil && n == binary.Size(e)
}

// at brings the kernel's clock and the calendar's together.
func (e endedRecord) at(now time.Time, mono time.Duration) Ended {
	return Ended{
		Account: e.Account.account(), Port: uint16(e.Port),
		At: now.Add(time.Duration(e.Closed) - mono), Life: time.Duration(e.Closed - e.Opened),
		Sent: e.Sent, Received: e.Received,
	}
}
