package record

import (
	"crypto/tls"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"
)

// FIPS mode has to be set when the process starts: this test runs itself again.
func TestFIPS(t *testing.T) {
	if os.Getenv("RECORD_TEST_FIPS") != "" {
		_, _, err := New(logged(t, allSuites[0])(), finished(allSuites[0]), true)
		if !errors.Is(err, ErrFIPS) {
			t.Fatalf("got %v", err)
		}
		return
	}
	again(t, "^TestFIPS$", "RECORD_TEST_FIPS=1", "GODEBUG=fips140=on")
}

// Without AES in hardware crypto/tls itself chooses ChaCha20: the tests against it
// run again so, which is also with AES in software.
func TestWithoutAES(t *testing.T) {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skipf("no GODEBUG to hide AES is known on %s", runtime.GOARCH)
	}
	if os.Getenv("RECORD_TEST_NOAES") != "" {
		p := newPKI(t)
		o, _ := pair(t, p.config(), p.config(), true)
		if id := o.r.suite.id; id != tls.TLS_CHACHA20_POLY1305_SHA256 {
			t.Fatalf("crypto/tls still chooses %s", tls.CipherSuiteName(id))
		}
		return
	}
	again(t, "^(TestWithoutAES|"+againstTLS+")$", "RECORD_TEST_NOAES=1", "GODEBUG=cpu.aes=off")
}

func again(t *testing.T, run string, env ...string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run="+run, "-test.v")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
