package mux

import (
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone"
)

// TestHostilePeersAlike: internal/hbone answers the same attacks with the same code. It reads a header
// block as it comes, where the mux gathers it first, so an endless one is told apart.
func TestHostilePeersAlike(t *testing.T) {
	for _, a := range attacks() {
		if a.mute || a.name == "endless headers" {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			peer, nc := net.Pipe()
			sc := hbone.NewServer(nc, hbone.Config{Now: frozen, MaxBuffered: mib})
			t.Cleanup(func() { _ = peer.Close(); _ = sc.Close() })
			go func() {
				r := newRogue(true)
				if a.begin != nil {
					a.begin(r)
				}
				_ = peer.SetWriteDeadline(time.Now().Add(20 * time.Second))
				for i := range a.times {
					a.again(r, i)
					if _, err := peer.Write(r.take()); err != nil {
						return
					}
				}
			}()
			_ = peer.SetReadDeadline(time.Now().Add(20 * time.Second))
			fr := http2.NewFramer(nil, peer)
			for {
				f, err := fr.ReadFrame()
				if err != nil {
					t.Fatalf("no GOAWAY: %v", err)
				}
				if ga, ok := f.(*http2.GoAwayFrame); ok {
					if ga.ErrCode != a.want {
						t.Errorf("GOAWAY %v, want %v", ga.ErrCode, a.want)
					}
					return
				}
			}
		})
	}
}

// TestRandomFrames: whatever the frames and however they are split, both ends see the same.
func TestRandomFrames(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		r := newRogue(false)
		for range rnd.IntN(60) {
			r.anything(rnd)
		}
		in := r.take()
		for _, server := range []bool{true, false} {
			whole := play(t, server, in, len(in)+24)
			for _, piece := range []int{1, 1 + rnd.IntN(40), 1 + rnd.IntN(4000)} {
				if diff := cmp.Diff(whole, play(t, server, in, piece)); diff != "" {
					t.Fatalf("seed %d, server %v, in pieces of %d:\n%s", seed, server, piece, diff)
				}
			}
		}
	}
}

// anything writes a frame that is often valid.
func (r *rogue) anything(rnd *rand.Rand) {
	id := uint32(1 + 2*rnd.IntN(6))
	data := make([]byte, rnd.IntN(3000))
	last := rnd.IntN(4) == 0
	switch rnd.IntN(16) {
	case 0, 1:
		_ = r.WriteHeaders(request(id, last))
	case 2:
		_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: encode(":status", "200"), EndHeaders: true, EndStream: last})
	case 3:
		cut := rnd.IntN(20)
		_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: connect()[:cut], EndStream: last, PadLength: uint8(rnd.IntN(9))})
		_ = r.WriteContinuation(id, true, connect()[cut:])
	case 4, 5, 6, 7:
		_ = r.WriteData(id, last, data)
	case 8:
		_ = r.WriteDataPadded(id, last, data, make([]byte, rnd.IntN(256)))
	case 9:
		_ = r.WriteRSTStream(id, http2.ErrCode(rnd.IntN(14)))
	case 10:
		_ = r.WriteWindowUpdate(id-1+uint32(rnd.IntN(2)), uint32(rnd.IntN(1<<20)))
	case 11:
		_ = r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(rnd.IntN(1 << 20))})
	case 12:
		_ = r.WritePing(last, [8]byte(make([]byte, 8)))
	case 13:
		_ = r.WriteRawFrame(http2.FrameType(20+rnd.IntN(9)), http2.Flags(rnd.IntN(256)), id, data)
	case 14:
		_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: encode("baggage", string(make([]byte, rnd.IntN(9000)))), EndHeaders: true})
	case 15:
		if rnd.IntN(10) == 0 {
			_ = r.WriteGoAway(id, http2.ErrCodeNo, nil)
		}
	}
}
