package record

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

// tap keeps what is written to a connection.
type tap struct {
	net.Conn
	wrote bytes.Buffer
}

func (c *tap) Write(p []byte) (int, error) {
	c.wrote.Write(p)
	return c.Conn.Write(p)
}

// recorded is what a crypto/tls peer sealed, and the secrets to open it.
type recorded struct {
	secrets Secrets
	state   tls.ConnectionState
	client  bool
	stream  []byte
	text    string
}

func (rec *recorded) reader(t testing.TB) *Reader {
	t.Helper()
	s := rec.secrets
	r, _, err := New(&s, rec.state, rec.client)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// record lets a crypto/tls peer send texts and a close_notify. client is our
// role; a server's stream starts with a ticket.
func record(t testing.TB, client bool, texts ...string) *recorded {
	t.Helper()
	cfg := newPKI(t).config()
	cfg.SessionTicketsDisabled = false
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	a, b := tcp(t)
	rec := &recorded{client: client}
	peerConn := &tap{Conn: b}
	mine, theirs := cfg.Clone(), cfg.Clone()
	mine.KeyLogWriter = &rec.secrets
	me, peer := tls.Server(NewBoundary(a), mine), tls.Client(peerConn, theirs)
	if client {
		me, peer = tls.Client(NewBoundary(a), mine), tls.Server(peerConn, theirs)
	}
	done := make(chan error, 1)
	go func() { done <- peer.Handshake() }()
	if err := me.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, s := range texts {
		if _, err := peer.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
		rec.text += s
	}
	// Not Close: with a ticket unread that resets the connection.
	if err := errors.Join(peer.CloseWrite(), b.(*net.TCPConn).CloseWrite()); err != nil {
		t.Fatal(err)
	}
	rec.state = me.ConnectionState()
	// What the handshake left in the connection is the records after it: all
	// that our crypto/tls did not read.
	left, err := io.ReadAll(a)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(peerConn.wrote.Bytes(), left) {
		t.Fatal("boundary lost bytes")
	}
	rec.stream = left
	return rec
}

// What crypto/tls sealed is opened whole, and cut in two at every byte, and byte
// by byte.
func TestReaderSplits(t *testing.T) {
	for _, client := range []bool{true, false} {
		rec := record(t, client, "GET / HTTP/1.1\r\n", "x", "", "the rest of it")
		for cut := range len(rec.stream) + 1 {
			feedParts(t, rec, rec.stream[:cut], rec.stream[cut:])
		}
		feedParts(t, rec, slices.Collect(slices.Chunk(rec.stream, 1))...)
	}
}

// feedParts hands parts in as an event loop does: what is not used comes again.
func feedParts(t *testing.T, rec *recorded, parts ...[]byte) {
	t.Helper()
	r := rec.reader(t)
	var left, got []byte
	var err error
	for _, p := range parts {
		if err != nil && len(p) > 0 {
			t.Fatalf("ended early: %v", err)
		}
		left = append(left, p...)
		var used int
		used, err = r.Open(left, func(p []byte) error { got = append(got, p...); return nil })
		left = left[used:]
	}
	if string(got) != rec.text || !errors.Is(err, io.EOF) {
		t.Fatalf("got %q and %v", got, err)
	}
}

// Our records reach crypto/tls cut in two at every byte, and joined.
func TestWriterSplits(t *testing.T) {
	p := newPKI(t)
	for _, client := range []bool{true, false} {
		a, b := net.Pipe()
		deadline := time.Now().Add(time.Minute)
		_, _ = a.SetDeadline(deadline), b.SetDeadline(deadline)
		peer := tls.Client(b, p.config())
		if client {
			peer = tls.Server(b, p.config())
		}
		done := make(chan error, 1)
		go func() { done <- peer.Handshake() }()
		o, err := startOurs(t, a, p.config(), client)
		if perr := <-done; err != nil || perr != nil {
			t.Fatal(err, perr)
		}
		text := []byte("forty bytes of text, to be cut anywhere.")
		for cut := 1; cut < len(text)+overhead; cut++ {
			write(o.w, text)
			if cut%2 == 0 { // two records at once
				o.w.Seal()
				write(o.w, text)
			}
			wire := drain(o.w)
			go func() {
				_, _ = a.Write(wire[:cut])
				_, _ = a.Write(wire[cut:])
			}()
			for range len(wire) / (len(text) + overhead) {
				got := make([]byte, len(text))
				if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, text) {
					t.Fatalf("cut %d: %q, %v", cut, got, err)
				}
			}
		}
		_, _ = a.Close(), b.Close()
	}
}
