package netsock

import (
	"net/netip"
	"testing"
)

// TestUnmap: addresses are what the mesh knows them by.
func TestUnmap(t *testing.T) {
	for in, want := range map[string]string{"[::ffff:10.0.0.1]:80": "10.0.0.1:80", "[fe80::1%eth0]:80": "[fe80::1]:80", "10.0.0.1:80": "10.0.0.1:80"} {
		if got := Unmap(netip.MustParseAddrPort(in)); got != netip.MustParseAddrPort(want) {
			t.Errorf("%s: %s", in, got)
		}
	}
}
