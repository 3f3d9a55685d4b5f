package mux

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// quiet is a Handler that only gives credit.
type quiet struct{ *events }

func (quiet) Data(s *Stream, p []byte) { s.Consumed(len(p)) }
func (quiet) Writable(*Stream)         {}

// TestNoAllocations: DATA costs none in either direction, whole or split, nor do windows and turns.
func TestNoAllocations(t *testing.T) {
	c, s := pair(t, hbone.Config{}, hbone.Config{})
	cs, _ := dial(t, c, s)
	s.h, c.h = quiet{s.ev}, quiet{c.ev}
	for _, piece := range []int{1, 8, 100, 1 << 20} {
		frames := make([]byte, 0, 1<<20)
		payload := make([]byte, h2.MaxData)
		send := func() {
			cs.Want()
			for st, most := c.Turn(); st != nil; st, most = c.Turn() {
				b := c.out.Space(h2.FrameHeader + h2.MaxData)
				n := copy(b[h2.FrameHeader:], payload[:min(most, h2.MaxData)])
				st.PutHeader(b, n, false)
				c.out.Advance(h2.FrameHeader + n)
			}
			frames = append(frames[:0], c.out.b...)
			c.out.b, c.out.fill = c.out.b[:0], 0
			c.Sent(len(frames))
			feed(s, frames, piece)
			frames = append(frames[:0], s.out.b...)
			s.out.b, s.out.fill = s.out.b[:0], 0
			s.Sent(len(frames))
			feed(c, frames, 1<<20)
		}
		for range 100 {
			send()
		}
		if n := testing.AllocsPerRun(200, send); n > 0 {
			t.Errorf("in pieces of %d: %v allocations for a DATA frame there and its credit back", piece, n)
		}
	}
	if c.Err() != nil || s.Err() != nil {
		t.Error(c.Err(), s.Err())
	}
}

// TestIdleStreamIsSmall: an idle stream is its struct and its place in the map.
func TestIdleStreamIsSmall(t *testing.T) {
	var before, after runtime.MemStats
	const conns, each = 20, 1000
	all := make([]*end, conns)
	for i := range all {
		all[i] = newEnd(false, hbone.Config{MaxStreams: each})
		r := newRogue(false)
		_ = all[i].Receive(r.take())
	}
	runtime.GC()
	runtime.ReadMemStats(&before)
	for _, e := range all {
		for range each {
			if _, err := e.Open(&hbone.Request{Authority: "a:1"}, nil); err != nil {
				t.Fatal(err)
			}
		}
		e.out.b = nil
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	n := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / (conns * each)
	if t.Logf("%d bytes, of which %d are the struct", n, unsafe.Sizeof(Stream{})); n > 220 || unsafe.Sizeof(Stream{}) > 144 {
		t.Errorf("an idle stream holds %d bytes", n)
	}
	runtime.KeepAlive(all)
}

// TestNothingKept: after large header blocks and DATA, a connection holds no buffers.
func TestNothingKept(t *testing.T) {
	c, s := pair(t, hbone.Config{}, hbone.Config{})
	old := s.fr
	if _, err := c.Open(&hbone.Request{Authority: "a:1", Baggage: string(bytes.Repeat([]byte("x"), 50000))}, nil); err != nil {
		t.Fatal(err)
	}
	feed(s, c.flush(), 1000)
	if s.ev.req == nil || s.part != nil || s.fr == old || c.block.Cap() > smallBuffer {
		t.Errorf("kept: %d gathered, framer %v, block of %d", cap(s.part), s.fr == old, c.block.Cap())
	}
}

func BenchmarkReceiveData(b *testing.B) {
	for _, size := range []int{64, 1024, h2.MaxData} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			c, s := pair(b, hbone.Config{}, hbone.Config{})
			dial(b, c, s)
			s.h = quiet{s.ev}
			frame := append(h2.AppendDataHeader(nil, 1, size, false), make([]byte, size)...)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Receive(frame); err != nil {
					b.Fatal(err)
				}
				s.out.b = s.out.b[:0]
			}
		})
	}
}

func BenchmarkSendData(b *testing.B) {
	c, all := busy(b, 1)
	buf := make([]byte, 16*kib)
	b.SetBytes(h2.MaxData)
	b.ReportAllocs()
	for b.Loop() {
		c.sendWin, all[0].sendWin = h2.MaxWindow, h2.MaxWindow
		all[0].Want()
		s, _ := c.Turn()
		s.PutHeader(buf, h2.MaxData, false)
	}
}

func BenchmarkReceiveWindowUpdate(b *testing.B) {
	c, all := busy(b, 1)
	c.h = quiet{c.ev}
	frame := []byte{0, 0, 4, byte(http2.FrameWindowUpdate), 0, 0, 0, 0, 1, 0, 0, 0, 1}
	b.ReportAllocs()
	for b.Loop() {
		all[0].sendWin = 0
		c.meters.SentData()
		if err := c.Receive(frame); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenClose(b *testing.B) {
	c, s := pair(b, hbone.Config{}, hbone.Config{})
	s.h, c.h = echoing{s.ev}, echoing{c.ev}
	req := &hbone.Request{Authority: "10.0.0.1:80", Forwarded: `for="10.0.0.2:1000"`}
	b.ReportAllocs()
	for b.Loop() {
		st, err := c.Open(req, nil)
		if err != nil {
			b.Fatal(err)
		}
		st.End()
		exchange(b, c, s)
		if !st.Gone() {
			b.Fatal("stream is left")
		}
	}
}

// echoing answers and ends every tunnel.
type echoing struct{ *events }

func (echoing) Opened(s *Stream, _ *hbone.Request)         { _ = s.Respond(200) }
func (echoing) Answered(*Stream, int, []hpack.HeaderField) {}
func (echoing) Data(s *Stream, p []byte)                   { s.Consumed(len(p)) }
func (echoing) End(s *Stream)                              { s.End() }
func (echoing) Writable(*Stream)                           {}
