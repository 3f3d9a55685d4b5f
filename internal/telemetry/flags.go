package telemetry

import "github.com/ambitmesh/ambit/internal/reason"

// Flags returns Istio's response_flags for a reason, "-" for none and for what has no word there.
// A timeout is NETWORK_POLICY only where port 15008 was called, which tunnel says.
func Flags(why reason.Reason, tunnel bool) string {
	switch why {
	case reason.PolicyDeny, reason.PolicyNoAllow, reason.MTLSRequired, reason.PolicyUnknown,
		reason.PolicyUnreadable, reason.PolicyNeedsL7, reason.PolicyChanged, reason.NotSynced,
		reason.WorkloadUnknown, reason.Authority, reason.ReservedPort, reason.Loop,
		reason.NeedsWaypoint, reason.PeerRefused:
		return "DENY"
	case reason.TLSFailure, reason.TrustDomain, reason.WrongPeer:
		return "TLS_FAILURE"
	case reason.IdentityError:
		return "IDENTITY_ERROR"
	case reason.BadRequest:
		return "H2_HANDSHAKE_FAILURE"
	case reason.ConnectTimeout:
		if tunnel {
			return "NETWORK_POLICY"
		}
		return "CONNECT"
	case reason.NoEndpoint, reason.ConnectRefused, reason.Unreachable, reason.TunnelLost, reason.PeerUnavailable:
		return "CONNECT"
	}
	return "-"
}
