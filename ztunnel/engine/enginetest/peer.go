package enginetest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
)

// dialPeer connects to an engine as a client of the account would, by the mesh's own endpoint.
func dialPeer(t testing.TB, ca *testca.CA, account string, to netip.AddrPort) *hbone.ClientConn {
	t.Helper()
	own := ca.Issue(id(account).String())
	cc, _, err := hbone.DialClient(t.Context(), hbone.DialConfig{Addr: to.String(),
		TLS: identity.ClientConfig(func() (*identity.Cert, error) { return own, nil }, []string{id("server").String()}, time.Now)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return cc
}
