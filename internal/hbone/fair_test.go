package hbone

import (
	"io"
	"net"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// TestFairness: a message that begins to wait while streams send as much as they are let goes out behind the
// batch that is being written and one frame of each of them.
func TestFairness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bulk, messages = 2, 100
		c, p := net.Pipe()
		cc, err := NewClient(c, Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer cc.Close()
		fr := http2.NewFramer(p, p)
		ping := greedyPeer(t, p, fr, cc, bulk)
		passed := 0
		for range messages {
			go func() { _, _ = ping.Write([]byte("p")) }()
			synctest.Wait() // it is in line, and the rest is held up by the peer
			before := 0
			for before <= batchSize+bulk*h2.MaxData {
				f, err := fr.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				if f.Header().StreamID == ping.ID() {
					break
				}
				before += int(f.Header().Length)
			}
			if before > batchSize+bulk*h2.MaxData {
				t.Fatalf("%d bytes of bulk go before a message", before)
			}
			passed += before
		}
		if passed < messages*h2.MaxData {
			t.Errorf("%d bytes of bulk between %d messages", passed, messages)
		}
	})
}

// greedyPeer answers tunnels and then takes nothing but what is read from fr, though its windows are wide:
// bulk streams have it write all the time. It returns one more stream, which does not.
func greedyPeer(t *testing.T, p net.Conn, fr *http2.Framer, cc *ClientConn, bulk int) *Stream {
	t.Helper()
	answered := make(chan error, 1)
	go func() { answered <- answer(p, fr, bulk+1) }()
	all := make([]*Stream, bulk+1)
	for i := range all {
		all[i] = open(t, cc)
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	for _, s := range all[1:] {
		go func() { _, _ = io.Copy(s, zeros{}) }()
	}
	return all[0]
}

// answer answers n tunnels.
func answer(p net.Conn, fr *http2.Framer, n int) error {
	if _, err := io.ReadFull(p, make([]byte, len(http2.ClientPreface))); err != nil {
		return err
	}
	if err := fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30}); err != nil {
		return err
	}
	if err := fr.WriteWindowUpdate(0, 1<<30); err != nil {
		return err
	}
	for n > 0 {
		f, err := fr.ReadFrame()
		if err != nil {
			return err
		}
		if h, ok := f.(*http2.HeadersFrame); ok {
			n--
			const status200 = 0x88 // in the static table
			if err := fr.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, BlockFragment: []byte{status200}, EndHeaders: true}); err != nil {
				return err
			}
		}
	}
	return nil
}
