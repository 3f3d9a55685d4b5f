package identity

// Controller is the identity of the mesh's built-in controller, which its own certificate carries and
// which its callers expect: whoever issues certificates must not be mistaken for a workload's peer.
func Controller(trustDomain string) ID {
	return ID{TrustDomain: trustDomain, Namespace: "ambit-system", ServiceAccount: "ambit-controller"}
}
