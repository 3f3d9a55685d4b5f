package mux

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone"
)

func TestEcho(t *testing.T) {
	c, s := pair(t, hbone.Config{}, hbone.Config{})
	s.ev.got = func(st *Stream, p []byte) {
		if n := st.Write(p); n != len(p) {
			t.Errorf("echoed %d of %d bytes", n, len(p))
		}
	}
	s.ev.ended = func(st *Stream) { st.End() }
	st, _ := dial(t, c, s)
	var want []byte
	for _, n := range []int{1, 5, 16375, 16384, 60000} {
		p := bytes.Repeat([]byte{byte(n)}, n)
		want = append(want, p...)
		if sent := st.Write(p); sent != n {
			t.Fatalf("sent %d of %d bytes", sent, n)
		}
		exchange(t, c, s)
	}
	st.End()
	exchange(t, c, s)
	if !bytes.Equal(c.ev.data[1], want) {
		t.Errorf("got %d bytes, want %d", len(c.ev.data[1]), len(want))
	}
	if !st.Gone() || c.NumStreams() != 0 || s.NumStreams() != 0 {
		t.Errorf("streams are left: %d, %d\n%v", c.NumStreams(), s.NumStreams(), c.ev)
	}
}

func TestHalfCloseEitherWay(t *testing.T) {
	c, s := pair(t, hbone.Config{}, hbone.Config{})
	cs, ss := dial(t, c, s)
	ss.Write([]byte("hello")) // the server speaks first and ends first
	ss.End()
	exchange(t, c, s)
	if ss.Sendable() != 0 || ss.Write([]byte("x")) != 0 {
		t.Error("writes after its end")
	}
	if n := cs.Write([]byte("bye")); n != 3 {
		t.Fatal("no write after the peer's end")
	}
	cs.End()
	exchange(t, c, s)
	if string(c.ev.data[1]) != "hello" || string(s.ev.data[1]) != "bye" || !cs.Gone() || !ss.Gone() {
		t.Errorf("%q, %q\n%v\n%v", c.ev.data[1], s.ev.data[1], c.ev, s.ev)
	}
	if len(c.ev.errs)+len(s.ev.errs) != 0 {
		t.Errorf("broken: %v, %v", c.ev.errs, s.ev.errs)
	}
}

func TestReset(t *testing.T) {
	for _, code := range []http2.ErrCode{http2.ErrCodeNo, http2.ErrCodeCancel, http2.ErrCodeConnect, http2.ErrCodeRefusedStream} {
		t.Run(code.String(), func(t *testing.T) {
			c, s := pair(t, hbone.Config{}, hbone.Config{})
			cs, ss := dial(t, c, s)
			ss.Reset(code)
			ss.Reset(code) // once is enough
			exchange(t, c, s)
			err := c.ev.errs[1]
			if !errors.Is(err, hbone.ErrReset) || !errors.Is(err, syscall.ECONNRESET) || errors.Is(err, hbone.ErrConnLost) ||
				errors.Is(err, hbone.ErrRefused) != (code == http2.ErrCodeRefusedStream) {
				t.Errorf("client: %v", err)
			}
			if cs.Sendable() != 0 || !cs.Gone() || len(s.ev.errs) != 0 || c.NumStreams()+s.NumStreams() != 0 {
				t.Errorf("after it: %v\n%v", c.ev, s.ev)
			}
			dial(t, c, s) // the connection lives
		})
	}
}

// TestCloseReadsAsEnd: what was written before Close arrives, then the end, then a reset.
func TestCloseReadsAsEnd(t *testing.T) {
	c, s := pair(t, hbone.Config{}, hbone.Config{})
	_, ss := dial(t, c, s)
	ss.Write([]byte("last words"))
	ss.Close()
	exchange(t, c, s)
	if string(c.ev.data[1]) != "last words" || !errors.Is(c.ev.errs[1], hbone.ErrReset) || len(s.ev.errs) != 0 {
		t.Errorf("%q, %v, %v", c.ev.data[1], c.ev.errs, s.ev.errs)
	}
	if got := c.ev.log[len(c.ev.log)-2]; got != "1 end" {
		t.Errorf("before the reset: %s", got)
	}
}

// TestCloseUnanswered: a tunnel given up before its answer is cancelled.
func TestCloseUnanswered(t *testing.T) {
	c, s := pair(t, hbone.Config{}, hbone.Config{})
	st, err := c.Open(&hbone.Request{Authority: "a:1"}, "mine")
	if err != nil || st.User() != "mine" {
		t.Fatal(err)
	}
	st.Write([]byte("early"))
	exchange(t, c, s)
	st.Close()
	exchange(t, c, s)
	if string(s.ev.data[1]) != "early" || !errors.Is(s.ev.errs[1], hbone.ErrReset) {
		t.Errorf("%v", s.ev)
	}
	if err := s.ev.open[0].Respond(200); err == nil {
		t.Error("answered what is gone")
	}
}

func TestRefusal(t *testing.T) {
	c, s := pair(t, hbone.Config{}, hbone.Config{})
	s.ev.opened = func(st *Stream) {
		if err := st.Respond(401, hpack.HeaderField{Name: "baggage", Value: "a=b"}); err != nil {
			t.Error(err)
		}
		st.Close()
	}
	c.ev.answered = func(st *Stream) { st.Close() }
	if _, err := c.Open(&hbone.Request{Authority: "x.y:80", Baggage: "k=v"}, nil); err != nil {
		t.Fatal(err)
	}
	exchange(t, c, s)
	if c.ev.status[1] != 401 || hbone.GetHeader(c.ev.fields, "baggage") != "a=b" || s.ev.req.Baggage != "k=v" {
		t.Errorf("%d %v %+v", c.ev.status[1], c.ev.fields, s.ev.req)
	}
	if c.NumStreams() != 0 || s.NumStreams() != 0 || len(c.ev.errs) != 0 {
		t.Errorf("%d, %d streams are left; %v", c.NumStreams(), s.NumStreams(), c.ev)
	}
}

// TestRespondRules: one answer, of a status that answers, and nothing sent before it.
func TestRespondRules(t *testing.T) {
	c, s := pair(t, hbone.Config{}, hbone.Config{})
	if _, err := c.Open(&hbone.Request{Authority: "a:1"}, nil); err != nil {
		t.Fatal(err)
	}
	exchange(t, c, s)
	st := s.ev.open[0]
	if st.Sendable() != 0 || st.Write([]byte("x")) != 0 {
		t.Error("sends before the answer")
	}
	if st.End(); st.ended {
		t.Error("ends before the answer")
	}
	for _, status := range []int{0, 100, 199, 600} {
		if err := st.Respond(status); !errors.Is(err, hbone.ErrHeaders) {
			t.Errorf("%d: %v", status, err)
		}
	}
	if err := st.Respond(200); err != nil {
		t.Fatal(err)
	}
	if err := st.Respond(200); err == nil {
		t.Error("answered twice")
	}
}

func TestConnLost(t *testing.T) {
	c, s := pair(t, hbone.Config{}, hbone.Config{})
	st, _ := dial(t, c, s)
	dial(t, c, s)
	c.Fail(io.ErrUnexpectedEOF)
	for id := range uint32(4) {
		if err := c.ev.errs[id]; id%2 == 1 && (!errors.Is(err, hbone.ErrConnLost) || !errors.Is(err, io.ErrUnexpectedEOF)) {
			t.Errorf("stream %d: %v", id, err)
		}
	}
	if _, err := c.Open(&hbone.Request{Authority: "a:1"}, nil); !errors.Is(err, hbone.ErrConnLost) {
		t.Errorf("open: %v", err)
	}
	if err := c.Receive([]byte("x")); !errors.Is(err, hbone.ErrConnLost) {
		t.Errorf("receive: %v", err)
	}
	before := c.out.Buffered()
	st.Reset(0)
	st.End()
	st.Consumed(1)
	if n := st.Write([]byte("x")); n != 0 || c.out.Buffered() != before {
		t.Error("something is sent on what is lost")
	}
	s.Close()
	if !errors.Is(s.Err(), hbone.ErrGone) || !errors.Is(s.ev.errs[1], hbone.ErrGone) || !errors.Is(s.ev.errs[3], hbone.ErrConnLost) {
		t.Errorf("closed: %v, %v", s.Err(), s.ev.errs)
	}
}

// TestHandlerEnds: a handler may end its stream or the connection in the middle of a frame.
func TestHandlerEnds(t *testing.T) {
	for name, do := range map[string]func(*end, *Stream){
		"reset": func(_ *end, st *Stream) { st.Reset(http2.ErrCodeCancel) },
		"close": func(_ *end, st *Stream) { st.Close() },
		"all":   func(s *end, _ *Stream) { s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, hbone.Config{}, hbone.Config{})
			cs, _ := dial(t, c, s)
			s.ev.got = func(st *Stream, _ []byte) { do(s, st) }
			cs.Write(make([]byte, 1000))
			cs.End()
			b := c.flush()
			feed(s, b[:20], 20) // the frame's head and 11 bytes
			feed(s, b[20:], 100)
			if len(s.ev.data[1]) != 11 || s.Unread() != 0 {
				t.Errorf("%d bytes passed on, %d unread", len(s.ev.data[1]), s.Unread())
			}
			exchange(t, c, s)
			if !cs.Gone() && !c.Draining() {
				t.Error("the client is not told")
			}
		})
	}
}
