package record

import (
	"crypto/tls"
	"fmt"
	"os"
	"strconv"
	"testing"
	_ "unsafe" // for go:linkname
)

// The suites that crypto/tls offers and chooses, first choice first, with AES in
// hardware and without. A Config cannot name TLS 1.3 suites; crypto/tls keeps
// these two open to others by linkname (go.dev/issue/67401).
var (
	//go:linkname suitesAES crypto/tls.defaultCipherSuitesTLS13
	suitesAES []uint16
	//go:linkname suitesNoAES crypto/tls.defaultCipherSuitesTLS13NoAES
	suitesNoAES []uint16
)

// onlySuite names the one suite that crypto/tls has in this process.
const onlySuite = "RECORD_TEST_SUITE"

// againstTLS are the tests against crypto/tls whose handshakes choose the suite.
const againstTLS = "TestTakeAgrees|TestReaderSplits|TestWriterSplits|TestOwnUpdate|TestAskForUpdate|TestResume.*|" +
	"FuzzReader|FuzzInner|FuzzWriter"

// The suites are the process's, so they are set before any test.
func TestMain(m *testing.M) {
	if v := os.Getenv(onlySuite); v != "" {
		id, err := strconv.ParseUint(v, 10, 16)
		if err != nil {
			fmt.Fprintln(os.Stderr, onlySuite, err)
			os.Exit(2)
		}
		suitesAES, suitesNoAES = []uint16{uint16(id)}, []uint16{uint16(id)}
	}
	os.Exit(m.Run())
}

// With each TLS 1.3 suite that Go has, the tests against crypto/tls run again, in
// both roles.
func TestEverySuite(t *testing.T) {
	if v := os.Getenv(onlySuite); v != "" {
		p := newPKI(t)
		for _, client := range bothRoles {
			if o, _ := pair(t, p.config(), p.config(), client); fmt.Sprint(o.r.suite.id) != v {
				t.Fatalf("suite %#04x, want %s", o.r.suite.id, v)
			}
		}
		return
	}
	for _, id := range allSuites {
		t.Run(tls.CipherSuiteName(id), func(t *testing.T) {
			again(t, "^(TestEverySuite|"+againstTLS+")$", fmt.Sprintf("%s=%d", onlySuite, id))
		})
	}
}
