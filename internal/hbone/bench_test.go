package hbone

import (
	"fmt"
	"io"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// BenchmarkEmit encodes DATA frames; BenchmarkReadFrames reads them.
func BenchmarkEmit(b *testing.B) {
	c := &conn{peer: h2.InitialPeer()}
	c.writer.sendWin = h2.MaxWindow
	s := &Stream{c: c}
	s.canWrite.L = &c.mu
	out, data := make([]byte, 0, batchSize), make([]byte, h2.MaxData)
	b.SetBytes(h2.MaxData)
	b.ReportAllocs()
	for b.Loop() {
		s.out, s.sendWin, c.sendWin = data, h2.MaxWindow, h2.MaxWindow
		out = c.emit(out[:0], s, batchSize)
	}
}

type endless struct {
	frame []byte
	at    int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.frame[e.at:])
	e.at = (e.at + n) % len(e.frame)
	return n, nil
}

func BenchmarkReadWindowUpdate(b *testing.B) {
	c := newConn(nil, Config{}, true)
	c.peer.Known = true
	c.rd.r = &endless{frame: []byte{0, 0, 4, byte(http2.FrameWindowUpdate), 0, 0, 0, 0, 0, 0, 0, 0, 1}}
	c.writing = true
	b.ReportAllocs()
	for b.Loop() {
		c.sendWin = 0
		c.meters.SentData()
		if err := c.readFrame(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPingPong(b *testing.B) {
	for _, size := range []int{1, 1024} {
		for _, streams := range []int{1, 16, 128} {
			b.Run(fmt.Sprintf("%dB/%d", size, streams), func(b *testing.B) { pingPong(b, size, streams) })
		}
	}
}

func pingPong(b *testing.B, size, streams int) {
	cc, sc := endpoints(b, Config{MaxStreams: 200}, Config{})
	serve(b, sc, echo)
	eventually(b, "room", func() bool { return cc.Room() >= streams })
	all := make([]*Stream, streams)
	for i := range all {
		all[i] = open(b, cc)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i, s := range all {
		n := b.N / streams
		if i < b.N%streams {
			n++
		}
		wg.Go(func() {
			buf := make([]byte, size)
			for range n {
				if _, err := s.Write(buf); err != nil {
					b.Error(err)
					return
				}
				if _, err := io.ReadFull(s, buf); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	for _, s := range all {
		s.Close()
	}
}

func BenchmarkBulk(b *testing.B) {
	for _, streams := range []int{1, 8} {
		b.Run(fmt.Sprint(streams), func(b *testing.B) {
			cc, sc := endpoints(b, Config{}, Config{})
			serve(b, sc, func(s *Stream) { _, _ = io.Copy(io.Discard, s) })
			const piece = 64 * kib
			b.SetBytes(piece)
			b.ReportAllocs()
			var wg sync.WaitGroup
			for range streams {
				s := open(b, cc)
				wg.Go(func() {
					buf := make([]byte, piece)
					for range b.N / streams {
						if _, err := s.Write(buf); err != nil {
							b.Error(err)
							return
						}
					}
					_ = s.CloseWrite()
					_, _ = io.Copy(io.Discard, s)
				})
			}
			wg.Wait()
		})
	}
}

func BenchmarkOpenClose(b *testing.B) {
	cc, sc := endpoints(b, Config{}, Config{})
	serve(b, sc, echo)
	b.ReportAllocs()
	for b.Loop() {
		s, err := cc.Connect(b.Context(), &Request{Authority: "10.0.0.1:80"})
		if err != nil {
			b.Fatal(err)
		}
		_ = s.CloseWrite()
		_, _ = io.Copy(io.Discard, s)
		_ = s.Close()
	}
}
