// Package identity holds the mesh's names for who talks: SPIFFE IDs, the certificates that prove them
// and the checks made on a peer's certificate.
package identity

import (
	"errors"
	"fmt"
	"strings"
)

// ID is a workload's identity: spiffe://<trust domain>/ns/<namespace>/sa/<service account>.
// The zero ID means "not authenticated".
type ID struct {
	TrustDomain    string
	Namespace      string
	ServiceAccount string
}

// ErrNotWorkload is wrapped by Parse for URIs that are not a workload's SPIFFE ID.
var ErrNotWorkload = errors.New("not a workload SPIFFE ID")

// IsZero reports whether no identity is known.
func (id ID) IsZero() bool { return id == ID{} }

// String returns the SPIFFE URI, or "" for the zero ID.
func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	return "spiffe://" + id.Principal()
}

// Principal returns the URI without its scheme, as AuthorizationPolicy's principals are written.
func (id ID) Principal() string {
	if id.IsZero() {
		return ""
	}
	return id.TrustDomain + "/ns/" + id.Namespace + "/sa/" + id.ServiceAccount
}

// Parse reads a workload's SPIFFE URI. Every part must be present and made of the characters that
// the SPIFFE ID standard (section 2) allows.
func Parse(uri string) (ID, error) {
	rest, ok := strings.CutPrefix(uri, "spiffe://")
	if !ok {
		return ID{}, fmt.Errorf("parse %q: no spiffe:// scheme: %w", uri, ErrNotWorkload)
	}
	p := strings.Split(rest, "/")
	if len(p) != 5 || p[1] != "ns" || p[3] != "sa" {
		return ID{}, fmt.Errorf("parse %q: want spiffe://<trust domain>/ns/<namespace>/sa/<account>: %w", uri, ErrNotWorkload)
	}
	if !validTrustDomain(p[0]) || !validSegment(p[2]) || !validSegment(p[4]) {
		return ID{}, fmt.Errorf("parse %q: bad character: %w", uri, ErrNotWorkload)
	}
	return ID{TrustDomain: p[0], Namespace: p[2], ServiceAccount: p[4]}, nil
}

func validTrustDomain(s string) bool {
	return s != "" && len(s) <= 255 && onlyOf(s, func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_'
	})
}

func validSegment(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= 253 && onlyOf(s, func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_'
	})
}

func onlyOf(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}
