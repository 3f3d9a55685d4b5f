package peers

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func some() []Forward {
	at := netip.MustParseAddrPort
	return []Forward{{Near: at("127.0.0.1:9001"), Far: at("10.1.0.2:9001"), To: at("10.1.0.2:8001")},
		{Near: at("127.0.0.1:9002"), Far: at("10.1.0.2:9002"), To: at("10.1.0.2:8002"), Fresh: true}}
}

func TestCertificatesAreEachOthers(t *testing.T) {
	c, err := makeCerts(filepath.Join(t.TempDir(), "certs"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	b, err := os.ReadFile(c.root)
	if err != nil || !roots.AppendCertsFromPEM(b) {
		t.Fatalf("root: %v", err)
	}
	for name, l := range map[string]leaf{nearName: c.near, farName: c.far} {
		if _, err := tls.LoadX509KeyPair(l.both, l.both); err != nil {
			t.Fatal(err)
		}
		pair, err := tls.LoadX509KeyPair(l.cert, l.key)
		if err != nil {
			t.Fatal(err)
		}
		for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if i, err := os.Stat(l.key); err != nil || i.Mode().Perm() != 0o600 {
			t.Errorf("key of %s: %v, %v", name, i.Mode(), err)
		}
	}
}

// Each half listens where the other or the client expects it, and only one of two ways resumes sessions.
func TestPairsMeet(t *testing.T) {
	for name, x := range map[string]struct {
		write      func(Tool, string, *certs, []Forward) (Half, Half, error)
		file       func(Half) string
		fresh, old string
	}{
		"nginx":   {writeNginx, func(h Half) string { return h.Args[2] }, "proxy_ssl_session_reuse off", "proxy_ssl_session_reuse on"},
		"haproxy": {writeHaproxy, func(h Half) string { return h.Args[3] }, "no-ssl-reuse", ""},
		"envoy":   {writeEnvoy, func(h Half) string { return h.Args[2] }, `"max_session_keys":0`, `"max_session_keys":1`},
	} {
		t.Run(name, func(t *testing.T) {
			near, far, err := Tool{Name: name, path: "/bin/" + name, write: x.write}.Pair(t.TempDir(), some())
			if err != nil {
				t.Fatal(err)
			}
			a, b := text(t, x.file(near)), text(t, x.file(far))
			for _, f := range some() {
				for _, want := range []struct{ in, what string }{{a, port(f.Near)}, {a, port(f.Far)}, {b, port(f.Far)}, {b, port(f.To)}} {
					if !strings.Contains(want.in, want.what) {
						t.Errorf("no %s in\n%s", want.what, want.in)
					}
				}
			}
			if strings.Count(a, x.fresh) != 1 || !strings.Contains(a, x.old) {
				t.Errorf("sessions:\n%s", a)
			}
			if name == "envoy" && (!json.Valid([]byte(a)) || !json.Valid([]byte(b))) {
				t.Error("no JSON")
			}
		})
	}
}

func text(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func port(a netip.AddrPort) string { _, p, _ := strings.Cut(a.String(), ":"); return p }

func TestFindTellsWhatIsSkipped(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // no apt-get
	dir := t.TempDir()
	_, skipped := Find(t.Context(), dir, func(name string) string {
		return map[string]string{"AMBIT_BENCH_ENVOY": filepath.Join(dir, "none"), "AMBIT_BENCH_ZTUNNEL": "/x"}[name]
	})
	all := strings.Join(skipped, "\n")
	for _, want := range []string{"envoy: " + dir, "ztunnel: there is no nft", "linkerd2-proxy: AMBIT_BENCH_LINKERD names no program"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in:\n%s", want, all)
		}
	}
}

func TestBuiltIsWhatIsKnown(t *testing.T) {
	text := func(version, revision, istio string) string {
		return `version.BuildInfo{Version:"` + version + `", GitRevision:"` + revision + `", RustVersion:"1.95.0", IstioVersion:"` + istio + `"}`
	}
	for _, x := range []struct{ text, said, want string }{
		{text("1.27.0", "abc", "unknown"), "2", "1.27.0"}, {text("unknown", "abc", "1.28.0"), "2", "1.28.0"}, {text("unknown", "abc", "unknown"), "2", "2"},
		{text("unknown", "abc", "unknown"), "", "of revision abc"}, {text("unknown", "unknown", "unknown"), "", "unknown"}, {"", "", "unknown"},
	} {
		if got := built(x.text, x.said); got != x.want {
			t.Errorf("%s, told %q: %q, want %q", x.text, x.said, got, x.want)
		}
	}
}
