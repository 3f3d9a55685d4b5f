package record

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

// Every suite, both roles: text both ways, new keys from both sides with and
// without a request for the other's, bulk, and the end.
func TestOpenSSL(t *testing.T) {
	p := newPKI(t)
	for _, id := range allSuites {
		args := append(p.files(t), "-ciphersuites", tls.CipherSuiteName(id))
		if id == tls.TLS_CHACHA20_POLY1305_SHA256 {
			args = append(args, "-record_padding", "512") // crypto/tls never pads
		}
		for _, client := range []bool{true, false} {
			t.Run(tls.CipherSuiteName(id)+name("client", client), func(t *testing.T) {
				var ssl *openssl
				var o *ours
				if client {
					ssl, o = dialServer(t, p.config(), args...)
				} else {
					ssl, o = acceptClient(t, p.config(), args...)
				}
				if o.r.suite.id != id {
					t.Fatalf("suite %#x", o.r.suite.id)
				}
				talkOpenSSL(t, ssl, o)
				endOpenSSL(t, ssl, o, client)
			})
		}
	}
}

func talkOpenSSL(t *testing.T, ssl *openssl, o *ours) {
	t.Helper()
	both := func(n string) {
		t.Helper()
		ssl.say("theirs " + n)
		if got, err := o.read(len("theirs ") + len(n) + 1); string(got) != "theirs "+n+"\n" || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
		write(o.w, []byte("ours "+n+"\n"))
		o.flush()
		ssl.waitFor("ours " + n + "\n")
	}
	both("at first")
	for i, key := range []string{"k", "K", "K"} {
		in, out := o.r.secret, o.w.secret
		ssl.say(key)
		for o.r.secret == in {
			if _, err := o.read(0); err != nil {
				t.Fatal(err)
			}
			if o.r.secret != in {
				break
			}
			if err := o.more(); err != nil {
				t.Fatal(err)
			}
		}
		both(fmt.Sprint("after their ", key, i))
		if changed := o.w.secret != out; changed != (key == "K") {
			t.Fatalf("their %s changed our keys: %v", key, changed)
		}
	}
	for i, ask := range []bool{false, true, true} {
		in, out := o.r.secret, o.w.secret
		o.w.Update(ask)
		both(fmt.Sprint("after ours ", i))
		ssl.say("again")
		if _, err := o.read(6); err != nil {
			t.Fatal(err)
		}
		if o.w.secret == out || (o.r.secret != in) != ask {
			t.Fatalf("our update %d, ask %v: our keys changed %v, theirs %v", i, ask, o.w.secret != out, o.r.secret != in)
		}
	}
	write(o.w, []byte(strings.Repeat("#", 300_000)))
	o.flush()
	ssl.wait("bulk", func(out string) bool { return strings.Count(out, "#") >= 300_000 })
}

// endOpenSSL: s_client ends first, s_server answers our end; both with
// close_notify.
func endOpenSSL(t *testing.T, ssl *openssl, o *ours, client bool) {
	t.Helper()
	if client {
		o.w.CloseNotify()
		o.flush()
	} else {
		ssl.say("Q")
	}
	if _, err := o.read(1); !errors.Is(err, io.EOF) {
		t.Fatalf("got %v", err)
	}
}

// Sessions: our client with s_server, s_client with our server.
func TestResumeOpenSSL(t *testing.T) {
	client, server, _ := resumable(t, newPKI(t))
	p := &pki{client.Certificates[0], client.RootCAs}
	t.Run("client", func(t *testing.T) {
		ssl, o := dialServer(t, client, append(p.files(t), "-rev")...)
		for i := range 3 {
			if i > 0 {
				o = dialAgain(t, ssl, client)
			}
			if got := o.tls.ConnectionState().DidResume; got != (i > 0) {
				t.Fatalf("connection %d resumed: %v", i, got)
			}
			if err := o.r.Resume(o.tls); err != nil {
				t.Fatal(err)
			}
			write(o.w, []byte("abc\n"))
			o.flush()
			if got, err := o.read(4); string(got) != "cba\n" || err != nil {
				t.Fatalf("got %q, %v", got, err)
			}
			o.w.CloseNotify()
			o.flush()
			_ = o.conn.Close()
		}
	})
	t.Run("server", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "session")
		for i, args := range [][]string{{"-sess_out", file}, {"-sess_in", file}} {
			ssl, o := acceptClient(t, server, append(p.files(t), args...)...)
			write(o.w, []byte("hello\n"))
			o.flush()
			ssl.waitFor("hello\n")
			ssl.say("Q")
			if _, err := o.read(1); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			ssl.waitFor([]string{"New, TLSv1.3", "Reused, TLSv1.3"}[i])
			if got := o.tls.ConnectionState().DidResume; got != (i > 0) {
				t.Fatalf("connection %d resumed: %v", i, got)
			}
		}
	})
}
