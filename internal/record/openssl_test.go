package record

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// openssl is a running s_client or s_server. Lines put into stdin are sent as
// text, but k and K: new keys, without and with a request for the peer's.
type openssl struct {
	t     *testing.T
	stdin io.WriteCloser
	mu    sync.Mutex
	out   bytes.Buffer
	grew  *sync.Cond
	ended bool
}

// files writes the certificate and key that s_client and s_server take.
func (p *pki) files(t *testing.T) []string {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(p.cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, b := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: p.cert.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"-tls1_3", "-cert", cert, "-key", keyFile, "-CAfile", cert, "-verify_return_error"}
}

func startOpenSSL(t *testing.T, args ...string) *openssl {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	cmd := exec.Command(path, args...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o := &openssl{t: t, stdin: stdin}
	o.grew = sync.NewCond(&o.mu)
	done := make(chan struct{})
	go func() {
		o.collect(stdout)
		_ = cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		if t.Failed() {
			t.Logf("openssl %s:\n%.4000s", args[0], o.out.String())
		}
	})
	return o
}

func (o *openssl) collect(r io.Reader) {
	b := bufio.NewReader(r)
	p := make([]byte, 64<<10)
	for {
		n, err := b.Read(p)
		o.mu.Lock()
		o.out.Write(p[:n])
		o.ended = err != nil
		o.grew.Broadcast()
		o.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// wait waits until the output fits, and returns it.
func (o *openssl) wait(what string, fits func(string) bool) string {
	o.t.Helper()
	late := time.AfterFunc(time.Minute, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.ended = true
		o.grew.Broadcast()
	})
	defer late.Stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	for !fits(o.out.String()) {
		if o.ended {
			o.t.Fatalf("openssl ended, or was silent, before: %s", what)
		}
		o.grew.Wait()
	}
	return o.out.String()
}

func (o *openssl) waitFor(s string) string {
	o.t.Helper()
	return o.wait(s, func(out string) bool { return strings.Contains(out, s) })
}

func (o *openssl) say(line string) {
	o.t.Helper()
	if _, err := io.WriteString(o.stdin, line+"\n"); err != nil {
		o.t.Fatal(err)
	}
}

// dialServer starts s_server and connects our client to it.
func dialServer(t *testing.T, cfg *tls.Config, args ...string) (*openssl, *ours) {
	t.Helper()
	s := startOpenSSL(t, append([]string{"s_server", "-accept", "127.0.0.1:0", "-Verify", "1"}, args...)...)
	return s, dialAgain(t, s, cfg)
}

func dialAgain(t *testing.T, s *openssl, cfg *tls.Config) *ours {
	t.Helper()
	const mark = "ACCEPT 127.0.0.1:"
	out := s.wait("port", func(out string) bool {
		_, rest, ok := strings.Cut(out, mark)
		return ok && strings.Contains(rest, "\n")
	})
	_, rest, _ := strings.Cut(out, mark)
	port, _, _ := strings.Cut(rest, "\n")
	c, err := net.Dial("tcp", "127.0.0.1:"+strings.TrimSpace(port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	o, err := startOurs(t, c, cfg, true)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// acceptClient starts s_client and accepts it with our server.
func acceptClient(t *testing.T, cfg *tls.Config, args ...string) (*openssl, *ours) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	c := startOpenSSL(t, append([]string{"s_client", "-connect", ln.Addr().String(), "-servername", "mesh.test"}, args...)...)
	_ = ln.(*net.TCPListener).SetDeadline(time.Now().Add(time.Minute))
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	o, err := startOurs(t, conn, cfg, false)
	if err != nil {
		t.Fatal(err)
	}
	return c, o
}
