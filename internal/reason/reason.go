// Package reason names why connections are refused or ended.
package reason

// Reason says why a connection was refused or ended early. It is a closed set, used alike as the
// metric label, in the access log, in /connections and by `ambit explain`.
type Reason string

// The reasons.
const (
	None Reason = "" // not refused

	// Policy.
	PolicyDeny       Reason = "policy_deny"       // a DENY policy matched
	PolicyNoAllow    Reason = "policy_no_allow"   // ALLOW policies apply and none matched
	MTLSRequired     Reason = "mtls_required"     // STRICT and the peer came in plaintext
	PolicyUnknown    Reason = "policy_unknown"    // the workload names a policy that is not known (after 5 s)
	PolicyUnreadable Reason = "policy_unreadable" // a policy that cannot be understood stands
	PolicyNeedsL7    Reason = "policy_needs_l7"   // an ALLOW rule needs layer 7 and there is no waypoint
	PolicyChanged    Reason = "policy_changed"    // a live connection re-judged after a change
	NotSynced        Reason = "not_synced"        // no complete answer of both xDS types yet

	// Workload and identity.
	WorkloadUnknown Reason = "workload_unknown"   // own workload record did not come in time
	IdentityError   Reason = "identity_error"     // no certificate for the pod's identity in time
	TLSFailure      Reason = "tls_failure"        // handshake failed or the peer's certificate was refused
	TrustDomain     Reason = "trust_domain"       // peer of another trust domain
	WrongPeer       Reason = "wrong_peer"         // the certificate is not the expected destination's
	Authority       Reason = "authority_mismatch" // CONNECT authority is not this pod
	BadRequest      Reason = "bad_request"        // not a CONNECT, malformed header or frame
	ReservedPort    Reason = "reserved_port"      // a call to the mesh's own ports
	Loop            Reason = "loop"               // one of our own legs came back

	// Destination.
	NoEndpoint      Reason = "no_healthy_upstream" // service without a usable endpoint
	ConnectRefused  Reason = "connect_refused"
	ConnectTimeout  Reason = "connect_timeout"
	Unreachable     Reason = "unreachable"
	TunnelLost      Reason = "tunnel_lost"      // the mTLS connection broke under a tunnel
	PeerRefused     Reason = "peer_refused"     // 401 from the destination's proxy
	PeerUnavailable Reason = "peer_unavailable" // 503 from the destination's proxy
	NeedsWaypoint   Reason = "needs_waypoint"   // destination has a waypoint and none can be reached

	// Limits and life cycle.
	Limit       Reason = "limit"        // a per-pod limit of the table in ztunnel
	PodGone     Reason = "pod_gone"     // the pod was deleted
	Drain       Reason = "drain"        // the proxy's drain time is over
	ProxyAbsent Reason = "proxy_absent" // agent: no proxy connected, the queue was reset
	Internal    Reason = "internal"
)
