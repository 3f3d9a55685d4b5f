package admin

import (
	"net"
	"net/http"
	"net/netip"
)

// postHeader must be on everything that changes something.
const postHeader = "X-Ambit-Admin"

// maxBody is more than any request here has.
const maxBody = 4 << 10

func limit(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		h.ServeHTTP(w, r)
	})
}

func guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !loopback(r.Host):
			http.Error(w, "the host must be localhost or a loopback address", http.StatusForbidden)
		case r.Method != http.MethodGet && r.Method != http.MethodHead && r.Header.Get(postHeader) != "1":
			http.Error(w, "this needs the header "+postHeader+": 1", http.StatusForbidden)
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// loopback judges a Host header, with or without a port.
func loopback(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	} else if len(name) > 1 && name[0] == '[' && name[len(name)-1] == ']' {
		name = name[1 : len(name)-1]
	}
	if name == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(name)
	return err == nil && a.Unmap().IsLoopback()
}
