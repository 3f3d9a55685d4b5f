package mux

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// outbox is an Out in memory. Its records hold 16 KiB, as TLS has it.
type outbox struct {
	b    []byte
	fill int // of the open record
}

func (o *outbox) Space(need int) []byte {
	if 16*kib-o.fill < need {
		o.fill = 0
	}
	n := 16*kib - o.fill
	o.b = slices.Grow(o.b, n)
	return o.b[len(o.b) : len(o.b)+n]
}

func (o *outbox) Advance(n int) { o.b, o.fill = o.b[:len(o.b)+n], o.fill+n }
func (o *outbox) Buffered() int { return len(o.b) }

// take returns what is to be sent.
func (o *outbox) take() []byte {
	b := bytes.Clone(o.b)
	o.b, o.fill = o.b[:0], 0
	return b
}

// events is a Handler that records, and then does what a test wants.
type events struct {
	log    []string
	data   map[uint32][]byte
	open   []*Stream
	req    *hbone.Request
	errs   map[uint32]error
	bad    []error
	rooms  int
	status map[uint32]int
	fields []hpack.HeaderField

	opened   func(*Stream)
	answered func(*Stream)
	got      func(*Stream, []byte)
	ended    func(*Stream)
	writable func(*Stream)
	keep     bool // do not consume what is received
}

func newEvents() *events {
	return &events{data: map[uint32][]byte{}, errs: map[uint32]error{}, status: map[uint32]int{}}
}

func (e *events) logf(format string, a ...any) { e.log = append(e.log, fmt.Sprintf(format, a...)) }

func (e *events) Opened(s *Stream, req *hbone.Request) {
	e.logf("%d opened %s", s.ID(), req.Authority)
	e.open, e.req = append(e.open, s), req
	if e.opened != nil {
		e.opened(s)
	}
}

func (e *events) Answered(s *Stream, status int, fields []hpack.HeaderField) {
	e.logf("%d answered %d %v", s.ID(), status, fields)
	e.status[s.ID()], e.fields = status, slices.Clone(fields)
	if e.answered != nil {
		e.answered(s)
	}
}

func (e *events) Data(s *Stream, p []byte) {
	if last := fmt.Sprintf("%d data", s.ID()); len(e.log) == 0 || e.log[len(e.log)-1] != last {
		e.log = append(e.log, last) // however many pieces
	}
	e.data[s.ID()] = append(e.data[s.ID()], p...)
	if e.got != nil {
		e.got(s, p)
	}
	if !e.keep {
		s.Consumed(len(p))
	}
}

func (e *events) End(s *Stream) {
	e.logf("%d end", s.ID())
	if e.ended != nil {
		e.ended(s)
	}
}

func (e *events) Broken(s *Stream, err error) {
	e.logf("%d broken: %v", s.ID(), err)
	e.errs[s.ID()] = err
}

func (e *events) Writable(s *Stream) {
	e.logf("%d writable", s.ID())
	if e.writable != nil {
		e.writable(s)
	}
}

func (e *events) Room() { e.rooms++ }

func (e *events) BadRequest(err error) {
	e.logf("bad request: %v", err)
	e.bad = append(e.bad, err)
}

func (e *events) String() string { return strings.Join(e.log, "\n") }

// end is a Conn with what is around it.
type end struct {
	*Conn
	out *outbox
	ev  *events
}

func newEnd(server bool, cfg hbone.Config) *end {
	e := &end{out: &outbox{}, ev: newEvents()}
	if server {
		e.Conn = NewServer(e.out, e.ev, cfg)
	} else {
		e.Conn = NewClient(e.out, e.ev, cfg)
	}
	return e
}

// flush returns what the end wants to send.
func (e *end) flush() []byte {
	e.Turn()
	b := e.out.take()
	e.Sent(len(b))
	return b
}

// pair returns both ends of a connection, greeted.
func pair(t testing.TB, ccfg, scfg hbone.Config) (c, s *end) {
	t.Helper()
	c, s = newEnd(false, ccfg), newEnd(true, scfg)
	exchange(t, c, s)
	return c, s
}

// exchange carries bytes between two ends until none has any.
func exchange(t testing.TB, a, b *end) {
	t.Helper()
	for range 100000 {
		x, y := a.flush(), b.flush()
		if len(x)+len(y) == 0 {
			return
		}
		_ = b.Receive(x)
		_ = a.Receive(y)
	}
	t.Fatal("the ends never rest")
}

// dial opens a tunnel that the server answers 200.
func dial(t testing.TB, c, s *end) (client, server *Stream) {
	t.Helper()
	client, err := c.Open(&hbone.Request{Authority: "10.0.0.1:80"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, c, s)
	server = s.ev.open[len(s.ev.open)-1]
	if err := server.Respond(200); err != nil {
		t.Fatal(err)
	}
	exchange(t, c, s)
	if c.ev.status[client.ID()] != 200 {
		t.Fatalf("answer %d", c.ev.status[client.ID()])
	}
	return client, server
}

// rogue writes frames that no well-behaved peer sends.
type rogue struct {
	*http2.Framer
	b bytes.Buffer
}

func newRogue(client bool) *rogue {
	r := &rogue{}
	r.Framer = http2.NewFramer(&r.b, nil)
	r.AllowIllegalWrites = true
	if client {
		r.b.WriteString(http2.ClientPreface)
	}
	_ = r.WriteSettings()
	return r
}

func (r *rogue) take() []byte {
	b := bytes.Clone(r.b.Bytes())
	r.b.Reset()
	return b
}

// framesIn yields the frames that an end has sent; each is valid until the next.
func framesIn(b []byte) iter.Seq[http2.Frame] {
	return func(yield func(http2.Frame) bool) {
		fr := http2.NewFramer(nil, bytes.NewReader(bytes.TrimPrefix(b, []byte(http2.ClientPreface))))
		for {
			f, err := fr.ReadFrame()
			if err != nil || !yield(f) {
				return
			}
		}
	}
}
