package hbone

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// rawPeer is a client made of a bare Framer, for what no well-behaved peer sends.
func rawPeer(t *testing.T, cfg Config) (*http2.Framer, *ServerConn) {
	t.Helper()
	c, s := tcpPair(t)
	sc := NewServer(s, cfg)
	serve(t, sc, func(s *Stream) { _, _ = io.Copy(io.Discard, s) })
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	fr := http2.NewFramer(c, c)
	fr.AllowIllegalWrites = true
	if err := fr.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return fr, sc
}

// connect is an hpack block of a valid request that leaves the header table alone.
func connect() []byte {
	block := append([]byte{0x02, 7}, "CONNECT"...) // :method, literal without indexing
	return append(append(block, 0x01, 11), "10.0.0.1:80"...)
}

func request(id uint32, end bool) http2.HeadersFrameParam {
	return http2.HeadersFrameParam{StreamID: id, BlockFragment: connect(), EndHeaders: true, EndStream: end}
}

// TestHostilePeers: what breaks the protocol or floods costs the connection, with the right code.
func TestHostilePeers(t *testing.T) {
	many := func(n int, write func(i int) error) func(*http2.Framer) {
		return func(*http2.Framer) {
			for i := range n {
				if write(i) != nil {
					return
				}
			}
		}
	}
	frozen := func() time.Time { return time.Unix(1, 0) } // no allowance comes back
	for name, tc := range map[string]struct {
		do   func(*http2.Framer) func(*http2.Framer)
		want http2.ErrCode
	}{
		"pings": {func(fr *http2.Framer) func(*http2.Framer) {
			return many(1e5, func(int) error { return fr.WritePing(false, [8]byte{}) })
		}, http2.ErrCodeEnhanceYourCalm},
		"settings": {func(fr *http2.Framer) func(*http2.Framer) {
			return many(1e5, func(int) error { return fr.WriteSettings() })
		}, http2.ErrCodeEnhanceYourCalm},
		"rapid reset": {func(fr *http2.Framer) func(*http2.Framer) {
			return many(1e5, func(i int) error {
				_ = fr.WriteHeaders(request(uint32(2*i+1), false))
				return fr.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel)
			})
		}, http2.ErrCodeEnhanceYourCalm},
		"empty data": {func(fr *http2.Framer) func(*http2.Framer) {
			_ = fr.WriteHeaders(request(1, false))
			return many(1e5, func(int) error { return fr.WriteData(1, false, nil) })
		}, http2.ErrCodeEnhanceYourCalm},
		"empty continuations": {func(fr *http2.Framer) func(*http2.Framer) {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: connect()})
			return many(1e5, func(int) error { return fr.WriteContinuation(1, false, nil) })
		}, http2.ErrCodeEnhanceYourCalm},
		"window overflow": {func(fr *http2.Framer) func(*http2.Framer) {
			return many(2, func(int) error { return fr.WriteWindowUpdate(0, 1<<31-1) })
		}, http2.ErrCodeFlowControl},
		"data on stream 0": {func(fr *http2.Framer) func(*http2.Framer) {
			return many(1, func(int) error { return fr.WriteData(0, false, []byte("x")) })
		}, http2.ErrCodeProtocol},
		"data on no stream": {func(fr *http2.Framer) func(*http2.Framer) {
			return many(1, func(int) error { return fr.WriteData(9, false, []byte("x")) })
		}, http2.ErrCodeProtocol},
		"even stream": {func(fr *http2.Framer) func(*http2.Framer) {
			return many(1, func(int) error { return fr.WriteHeaders(request(2, false)) })
		}, http2.ErrCodeProtocol},
		"huge frame": {func(fr *http2.Framer) func(*http2.Framer) {
			return many(1, func(int) error { return fr.WriteRawFrame(99, 0, 0, make([]byte, 20000)) })
		}, http2.ErrCodeFrameSize},
		"bad hpack": {func(fr *http2.Framer) func(*http2.Framer) {
			return many(1, func(int) error {
				return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff}, EndHeaders: true})
			})
		}, http2.ErrCodeCompression},
	} {
		t.Run(name, func(t *testing.T) {
			var code http2.ErrCode
			err := errors.New("not tried")
			for try := 0; err != nil && try < 5; try++ { // a server that is starved for closeGrace goes without a word
				fr, sc := rawPeer(t, Config{Now: frozen})
				go tc.do(fr)(fr)
				code, err = lastCode(fr)
				<-sc.Done()
				if !errors.Is(sc.Err(), ErrConnLost) {
					t.Errorf("%v", sc.Err())
				}
			}
			if err != nil || code != tc.want {
				t.Errorf("GOAWAY %v, want %v (%v)", code, tc.want, err)
			}
		})
	}
}

// lastCode reads until GOAWAY.
func lastCode(fr *http2.Framer) (http2.ErrCode, error) {
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return 0, err
		}
		if ga, ok := f.(*http2.GoAwayFrame); ok {
			return ga.ErrCode, nil
		}
	}
}

// TestStreamErrors: what concerns one stream costs that stream.
func TestStreamErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(*http2.Framer) error
		want http2.ErrCode
	}{
		"stream window exceeded": {func(fr *http2.Framer) error {
			for range 5 {
				_ = fr.WriteData(1, false, make([]byte, 16000))
			}
			return nil
		}, http2.ErrCodeFlowControl},
		"stream window overflow": {func(fr *http2.Framer) error { return fr.WriteWindowUpdate(1, 1<<31-1) }, http2.ErrCodeFlowControl},
		"second headers":         {func(fr *http2.Framer) error { return fr.WriteHeaders(request(1, false)) }, http2.ErrCodeProtocol},
		"zero window update":     {func(fr *http2.Framer) error { return fr.WriteWindowUpdate(1, 0) }, http2.ErrCodeProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := tcpPair(t)
			sc := NewServer(s, Config{StreamWindow: 64 * kib})
			release := make(chan struct{})
			serve(t, sc, func(*Stream) { <-release })
			t.Cleanup(func() { close(release) })
			_, _ = io.WriteString(c, http2.ClientPreface)
			fr := http2.NewFramer(c, c)
			fr.AllowIllegalWrites = true
			_ = fr.WriteSettings()
			_ = fr.WriteHeaders(request(1, false))
			_ = tc.do(fr)
			if code := resetCode(t, c, fr); code != tc.want {
				t.Errorf("RST_STREAM %v, want %v", code, tc.want)
			}
			if sc.Err() != nil {
				t.Errorf("connection is lost: %v", sc.Err())
			}
		})
	}
}

func resetCode(t *testing.T, c net.Conn, fr *http2.Framer) http2.ErrCode {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatalf("no RST_STREAM: %v", err)
		}
		if rst, ok := f.(*http2.RSTStreamFrame); ok {
			return rst.ErrCode
		}
	}
}

// TestTolerance: what RFC 9113 lets be is passed over.
func TestTolerance(t *testing.T) {
	fr, sc := rawPeer(t, Config{})
	_ = fr.WriteRawFrame(99, 7, 3, []byte("unknown"))
	_ = fr.WritePriority(1, http2.PriorityParam{StreamDep: 3})
	_ = fr.WriteSettings(http2.Setting{ID: 0x99, Val: 1})
	_ = fr.WriteHeaders(request(1, false))
	_ = fr.WriteDataPadded(1, false, []byte("x"), make([]byte, 100))
	_ = fr.WriteHeaders(request(1, true)) // trailers with pseudo fields are still an end
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatalf("%v; %v", err, sc.Err())
		}
		if f.Header().StreamID == 1 && f.Header().Flags.Has(http2.FlagDataEndStream) && f.Header().Type == http2.FrameData {
			break
		}
	}
	eventually(t, "gone", func() bool { return sc.NumStreams() == 0 })
	if sc.Err() != nil {
		t.Error(sc.Err())
	}
}
