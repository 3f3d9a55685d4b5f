// Package authz judges connections by L4 authorization policies, failing closed: what cannot be
// understood restricts, never opens.
package authz

import (
	"net/netip"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/reason"
)

// Flow is what a policy may look at.
type Flow struct {
	Source   identity.ID    // zero: plaintext
	SourceIP netip.Addr     // TCP source address, unmapped
	Dest     netip.AddrPort // the application's address and port, not 15008
}

// Verdict is the outcome of judging one flow.
type Verdict struct {
	Allowed bool
	Reason  reason.Reason // None if allowed
	Policy  string        // "namespace/name" that decided; "" if none did
	Detail  string        // for explain: why, in words
	DryRun  []string      // dry-run policies that would have refused, "namespace/name"
}
