package enginetest

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// openssl runs the command in the background with a certificate's files, until the test ends.
type openssl struct {
	cmd *exec.Cmd
	in  interface{ Close() error }
	mu  sync.Mutex
	out bytes.Buffer
}

// Write keeps what the command says.
func (o *openssl) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.out.Write(p)
}

func (o *openssl) said() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.out.String()
}

func startOpenSSL(t testing.TB, own *identity.Cert, args ...string) *openssl {
	t.Helper()
	dir := t.TempDir()
	o := &openssl{cmd: exec.CommandContext(t.Context(), "openssl", append(args, "-cert", pemFile(t, dir, own.Leaf), "-key", keyFile(t, dir, own.TLS.PrivateKey),
		"-CAfile", pemFile(t, dir, own.RootCerts...), "-alpn", "h2", "-tls1_3")...)}
	o.cmd.Stdout, o.cmd.Stderr = o, o
	in, err := o.cmd.StdinPipe() // open: at its end the command ends
	if err == nil {
		err = o.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	o.in = in
	t.Cleanup(o.end)
	return o
}

func (o *openssl) end() {
	_ = o.cmd.Process.Kill()
	_ = o.cmd.Wait()
}

func pemFile(t testing.TB, dir string, certs ...*x509.Certificate) string {
	return writeFile(t, dir, []byte(identity.EncodeCerts(certs)))
}

func keyFile(t testing.TB, dir string, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, dir, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func writeFile(t testing.TB, dir string, b []byte) string {
	t.Helper()
	f, err := os.CreateTemp(dir, "*.pem")
	if err == nil {
		_, err = f.Write(b)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func needOpenSSL(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("needs the openssl command")
	}
}

// resumeOpenSSLClient: OpenSSL's client resumes with an engine's tickets.
func (by engines) resumeOpenSSLClient(t *testing.T) {
	needOpenSSL(t)
	r := by.newResumable(t)
	r.mesh.start(t)
	saved := filepath.Join(t.TempDir(), "session")
	own := r.ca.Issue(id("client").String())
	connect := func(how ...string) string {
		o := startOpenSSL(t, own, append([]string{"s_client", "-connect", r.in.String(), "-sess_out", saved}, how...)...)
		Eventually(t, "OpenSSL has connected and has a ticket", func() bool { return strings.Contains(o.said(), "Post-Handshake New Session Ticket") })
		_ = o.in.Close()
		return o.said()
	}
	if said := connect(); !strings.Contains(said, "New, TLSv1.3") {
		t.Fatalf("first connection: %s", said)
	}
	Eventually(t, "the session is saved", func() bool { b, err := os.ReadFile(saved); return err == nil && bytes.Contains(b, []byte("END")) })
	if said := connect("-sess_in", saved); !strings.Contains(said, "Reused, TLSv1.3") {
		t.Fatalf("second connection: %s", said)
	}
	Eventually(t, "both handshakes are counted", func() bool { full, resumed := r.at[1].counts(); return full == 1 && resumed == 1 })
}

// resumeOpenSSLServer: an engine resumes with the tickets of OpenSSL's server, which is no proxy: each
// attempt fails after its handshake.
func (by engines) resumeOpenSSLServer(t *testing.T) {
	needOpenSSL(t)
	r := by.newResumable(t)
	r.in = closedPort(t)
	o := startOpenSSL(t, r.ca.Issue(id("server").String()), "s_server", "-accept", r.in.String(), "-Verify", "1", "-verify_return_error", "-rev")
	Eventually(t, "OpenSSL listens", func() bool { return strings.Contains(o.said(), "ACCEPT") })
	r.client.d.Accept = func(*engine.Record) engine.Plan {
		p := r.toTunnel()
		p.Dial.Timeout = 5 * time.Second
		return p
	}
	r.out = r.client.listen(t, engine.Outbound)
	for i := range 3 {
		wantRefused(t, r.out)
		Eventually(t, "the connection is gone", func() bool { return r.client.pod.Usage.Tunnels.Load() == 0 })
		if full, resumed := r.at[0].counts(); full != 1 || resumed < i {
			t.Errorf("connection %d: %d full and %d resumed handshakes", i, full, resumed)
		}
	}
	if t.Failed() {
		t.Log(o.said())
	}
}
