package record

import (
	"crypto/tls"
	"testing"
)

// Both roles, with and without a client certificate and with and without tickets
// (which crypto/tls's server seals at different moments) agree on every sequence
// number.
func TestTakeAgrees(t *testing.T) {
	p := newPKI(t)
	for _, client := range []bool{true, false} {
		for _, tickets := range []bool{true, false} {
			for _, mutual := range []bool{true, false} {
				cfg := p.config()
				cfg.SessionTicketsDisabled = !tickets
				cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1) // else the client asks for no tickets
				if !mutual {
					cfg.ClientAuth = tls.NoClientCert
				}
				t.Run(name("client", client)+name("tickets", tickets)+name("mutual", mutual), func(t *testing.T) {
					o, peer := pair(t, cfg, cfg, client)
					if seq := o.w.seq; (seq == 1) != (tickets && !client) {
						t.Errorf("writer starts at %d", seq)
					}
					for _, n := range []int{1, MaxText, 100_000} {
						talk(t, o, peer, n)
					}
				})
			}
		}
	}
}

func name(s string, on bool) string {
	if on {
		return "+" + s
	}
	return "-" + s
}
