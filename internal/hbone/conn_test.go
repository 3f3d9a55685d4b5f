package hbone

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

func TestGoAwayDrains(t *testing.T) {
	cc, sc := endpoints(t, Config{}, Config{})
	serve(t, sc, echo)
	s := open(t, cc)
	sc.GoAway()
	eventually(t, "client has no room", func() bool { return cc.Room() == 0 })
	if _, err := cc.Open(t.Context(), &Request{Authority: "a:1"}); !errors.Is(err, ErrNoRoom) {
		t.Errorf("open: %v", err)
	}
	time.Sleep(50 * time.Millisecond)
	if _, err := s.Write([]byte("still")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(s, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	_ = s.CloseWrite()
	if _, err := io.ReadAll(s); err != nil {
		t.Fatal(err)
	}
	<-sc.Done()
	<-cc.Done()
	if !errors.Is(sc.Err(), ErrGone) || !errors.Is(cc.Err(), ErrGone) {
		t.Errorf("ended with %v and %v", sc.Err(), cc.Err())
	}
}

func TestGoAwayOfClient(t *testing.T) {
	cc, sc := endpoints(t, Config{}, Config{})
	serve(t, sc, echo)
	s := open(t, cc)
	cc.GoAway()
	if cc.Room() != 0 {
		t.Error("room after GOAWAY")
	}
	_, _ = s.Write([]byte("x"))
	if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	<-cc.Done()
	<-sc.Done()
}

func TestMaxStreams(t *testing.T) {
	cc, sc := endpoints(t, Config{}, Config{MaxStreams: 3})
	serve(t, sc, echo)
	a := open(t, cc)
	open(t, cc)
	eventually(t, "settings are known", func() bool { return cc.Room() == 1 })
	open(t, cc)
	if _, err := cc.Open(t.Context(), &Request{Authority: "a:1"}); !errors.Is(err, ErrNoRoom) {
		t.Fatalf("fourth: %v", err)
	}
	if cc.Idle() != 0 {
		t.Error("idle with streams")
	}
	a.Close()
	if cc.Room() > 1 {
		t.Error("too much room")
	}
	eventually(t, "room again", func() bool { return cc.Room() == 1 })
}

func TestRefusedStream(t *testing.T) {
	cc, sc := endpoints(t, Config{}, Config{MaxStreams: 1})
	serve(t, sc, echo)
	var errs []error
	for range 3 { // before the client knows the limit, perhaps
		s, err := cc.Open(t.Context(), &Request{Authority: "a:1"})
		if err == nil {
			_, _, err = s.WaitResponse(t.Context())
		}
		errs = append(errs, err)
	}
	for _, err := range errs[1:] {
		if !errors.Is(err, ErrNoRoom) && !errors.Is(err, ErrRefused) {
			t.Errorf("%v", err)
		}
	}
}

func TestIdle(t *testing.T) {
	cc, sc := endpoints(t, Config{}, Config{})
	serve(t, sc, echo)
	open(t, cc).Close()
	eventually(t, "idle", func() bool { return cc.Idle() > 5*time.Millisecond })
}

func TestHeaderLimits(t *testing.T) {
	bad := make(chan error, 10)
	c, s := tlsPair(t)
	cc, sc := endpointsOn(t, c, s, Config{}, Config{MaxHeaderList: 2000, OnBadRequest: func(err error) { bad <- err }})
	serve(t, sc, echo)
	open(t, cc)
	big := &Request{Authority: "a:1", Baggage: longValue(1500), Forwarded: longValue(1500)}
	if _, err := cc.Open(t.Context(), big); !errors.Is(err, ErrHeaders) {
		t.Fatalf("beyond the peer's limit: %v", err)
	}
	cc.mu.Lock()
	cc.peer.HeaderList = 1 << 30 // a peer that does not care
	cc.mu.Unlock()
	st, err := cc.Open(t.Context(), big)
	if err != nil {
		t.Fatal(err)
	}
	if status, _, err := st.WaitResponse(t.Context()); status != 431 || err != nil {
		t.Fatalf("%d, %v", status, err)
	}
	if err := <-bad; !errors.Is(err, ErrHeaders) {
		t.Errorf("%v", err)
	}
	open(t, cc) // the connection lives
}

func longValue(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(i%26)
	}
	return string(b)
}

// TestContinuation sends a header list of several frames.
func TestContinuation(t *testing.T) {
	cc, sc := endpoints(t, Config{}, Config{})
	got := make(chan *Request, 1)
	serve(t, sc, func(s *Stream) { got <- s.Request() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := cc.Connect(ctx, &Request{Authority: "a:1", Baggage: longValue(60000)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len((<-got).Baggage) != 60000 {
		t.Error("baggage is cut")
	}
}

// TestPingTimeout runs on synctest's clock: a silent peer is found dead within 10 + 10 + 20 s.
func TestPingTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := net.Pipe()
		cc, err := NewClient(c, Config{})
		if err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, s) // takes everything, answers nothing
		if err := http2.NewFramer(s, nil).WriteSettings(); err != nil {
			t.Fatal(err)
		}
		st, err := cc.Open(t.Context(), &Request{Authority: "a:1"})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, _, err = st.WaitResponse(t.Context())
		if took := time.Since(start); !errors.Is(err, ErrConnLost) || took < 30*time.Second || took > 40*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		if !errors.Is(cc.Err(), h2.ErrPingTimeout) {
			t.Errorf("lost by %v", cc.Err())
		}
	})
}

// TestStuckPeer: a peer that takes no byte is lost too, though it sends.
func TestStuckPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := net.Pipe()
		cc, err := NewClient(c, Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		fr := http2.NewFramer(s, nil)
		if err := fr.WriteSettings(); err != nil {
			t.Fatal(err)
		}
		go func() {
			for fr.WriteWindowUpdate(0, 1) == nil {
				time.Sleep(time.Second)
			}
		}()
		start := time.Now()
		<-cc.Done()
		if took := time.Since(start); !errors.Is(cc.Err(), h2.ErrStuck) || took > 40*time.Second {
			t.Errorf("after %v: %v", took, cc.Err())
		}
		s.Close()
		time.Sleep(2 * time.Second) // the writer above ends
	})
}

// TestQuietPeers ping each other and live.
func TestQuietPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := net.Pipe()
		cc, err := NewClient(c, Config{})
		if err != nil {
			t.Fatal(err)
		}
		sc := NewServer(s, Config{})
		time.Sleep(time.Hour)
		if cc.Err() != nil || sc.Err() != nil {
			t.Errorf("live peers lost each other: %v, %v", cc.Err(), sc.Err())
		}
		cc.Close()
		sc.Close()
	})
}

// TestSilentPeer: whoever does not even send SETTINGS is let go.
func TestSilentPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := net.Pipe()
		defer c.Close()
		go io.Copy(io.Discard, c)
		sc := NewServer(s, Config{})
		start := time.Now()
		<-sc.Done()
		if took := time.Since(start); !errors.Is(sc.Err(), h2.ErrNoSettings) || took != 10*time.Second {
			t.Errorf("after %v: %v", took, sc.Err())
		}
	})
}

func TestNoLeak(t *testing.T) {
	c, s := tlsPair(t)
	cc, sc := endpointsOn(t, c, s, Config{}, Config{})
	serve(t, sc, echo)
	for range 20 {
		open(t, cc)
	}
	cc.Close()
	<-sc.Done()
	sc.Close()
	eventually(t, "no goroutines", func() bool { return len(ours()) == 0 })
}
