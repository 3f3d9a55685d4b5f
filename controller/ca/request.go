package ca

import (
	"context"
	"crypto/x509"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/ambitmesh/ambit/controller/auth"
	"github.com/ambitmesh/ambit/controller/join"
	"github.com/ambitmesh/ambit/internal/identity"
	pb "github.com/ambitmesh/ambit/internal/meshpb/ca"
)

// maxCSR bounds a request, in bytes of PEM; a P-384 one has about 600.
const maxCSR = 16 << 10

// impersonated is the key in the request's metadata of the identity that is asked for.
const impersonated = "ImpersonatedIdentity"

// request is one call.
type request struct {
	*Service
	req                 *pb.IstioCertificateRequest
	peer, caller, asked string // for the log
	kind                string // node, pod or own, for the metric
	until               time.Time
}

func (r *request) serve(ctx context.Context) ([]string, *refusal) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	default:
		return nil, refuse(whyLimit, "too many requests at once")
	}
	caller, err := r.cfg.Callers.Caller(ctx)
	if errors.Is(err, auth.ErrNone) {
		return r.join(ctx)
	}
	if err != nil {
		return nil, badCaller(err)
	}
	r.caller = caller.String()
	if !r.callers.allow(r.caller, r.cfg.Now()) {
		return nil, refuse(whyLimit, "too many requests of %s", r.caller)
	}
	csr, no := r.parse()
	if no != nil {
		return nil, no
	}
	if no := r.judge(ctx, caller); no != nil {
		return nil, no
	}
	return r.issue(csr)
}

// parse reads the request; the only name in it is the identity that is asked for.
func (r *request) parse() (*x509.CertificateRequest, *refusal) {
	if n := len(r.req.GetCsr()); n > maxCSR {
		return nil, refuse(whyBadRequest, "request of %d bytes, at most %d", n, maxCSR)
	}
	csr, uri, err := identity.ParseCSR([]byte(r.req.GetCsr()))
	if err != nil {
		return nil, refuse(whyBadRequest, "%w", err)
	}
	r.asked = uri
	if v, ok := r.req.GetMetadata().GetFields()[impersonated]; ok && v.GetStringValue() != uri {
		return nil, refuse(whyBadRequest, "asks for %q with a request for another identity", clip(v.GetStringValue()))
	}
	return csr, nil
}

func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), 512)], "?") }

// badCaller tells a credential that is no good from one that nobody could look at.
func badCaller(err error) *refusal {
	switch {
	case errors.Is(err, auth.ErrBusy):
		return refuse(whyLimit, "%w", err)
	case errors.Is(err, auth.ErrUnavailable):
		return refuse(whyNotReady, "%w", err)
	case errors.Is(err, auth.ErrExpired):
		return refuse(whyExpired, "%w", err)
	case errors.Is(err, auth.ErrToken):
		return refuse(whyToken, "%w", err)
	}
	return refuse(whyCredential, "%w", err)
}

// judge says whether a caller that is known may have what it asks for: its own identity, or, for a node
// and its proxy, that of a pod that runs there.
func (r *request) judge(ctx context.Context, caller auth.Caller) *refusal {
	if r.asked == caller.URI {
		r.kind = "own"
		return nil
	}
	if caller.Node == "" {
		return refuse(whyNotOwn, "a workload may have its own identity only")
	}
	id, err := identity.Parse(r.asked)
	if err != nil {
		return refuse(whyNotOwn, "%w", err)
	}
	if id.TrustDomain != r.cfg.TrustDomain {
		return refuse(whyTrustDomain, "trust domain %s, here it is %s", id.TrustDomain, r.cfg.TrustDomain)
	}
	if !r.cfg.Ready() {
		return refuse(whyNotReady, "the objects were not read yet")
	}
	if !r.runs(ctx, caller.Node, id) {
		return refuse(whyNotOnNode, "no pod of that identity runs on node %s", caller.Node)
	}
	r.kind = "pod"
	return nil
}

// runs waits a little: the node may have heard of a new pod before the controller.
func (r *request) runs(ctx context.Context, node string, id identity.ID) bool {
	if r.cfg.Pods.Runs(node, id) {
		return true
	}
	select {
	case r.waits <- struct{}{}:
		defer func() { <-r.waits }()
	default:
		return false
	}
	every := time.NewTicker(max(r.cfg.PodWait/20, time.Millisecond))
	defer every.Stop()
	for range 20 {
		select {
		case <-ctx.Done():
			return false
		case <-every.C:
		}
		if r.cfg.Pods.Runs(node, id) {
			return true
		}
	}
	return false
}

// join is for a machine without a certificate. The token is used up only by a certificate.
func (r *request) join(ctx context.Context) ([]string, *refusal) {
	if !r.unknown.AllowN(r.cfg.Now(), 1) {
		return nil, refuse(whyLimit, "too many requests without a certificate")
	}
	token, ok := auth.Bearer(ctx)
	if !ok {
		return nil, refuse(whyCredential, "neither certificate nor token")
	}
	csr, no := r.parse()
	if no != nil {
		return nil, no
	}
	domain, node, err := identity.ParseNodeURI(r.asked)
	if err != nil {
		return nil, refuse(whyNotOwn, "with a join token: %w", err)
	}
	if domain != r.cfg.TrustDomain {
		return nil, refuse(whyTrustDomain, "trust domain %s, here it is %s", domain, r.cfg.TrustDomain)
	}
	if err := r.cfg.Tokens.Check(token, node); err != nil {
		return nil, badToken(err)
	}
	chain, no := r.issue(csr)
	if no != nil {
		return nil, no
	}
	if err := r.cfg.Tokens.Use(token, node); err != nil {
		return nil, badToken(err)
	}
	r.caller, r.kind = "token of node "+node, "node"
	return chain, nil
}

// badToken tells a token that is no good from a store that cannot be read: that is not the caller's fault.
func badToken(err error) *refusal {
	if errors.Is(err, join.ErrUnknown) || errors.Is(err, join.ErrExpired) || errors.Is(err, join.ErrNode) {
		return refuse(whyToken, "%w", err)
	}
	return refuse(whyInternal, "%w", err)
}

func (r *request) issue(csr *x509.CertificateRequest) ([]string, *refusal) {
	seconds := min(max(r.req.GetValidityDuration(), 0), math.MaxInt64/int64(time.Second))
	chain, leaf, err := r.cfg.CA.Issue(csr.PublicKey, Names{URI: r.asked}, time.Duration(seconds)*time.Second)
	if err != nil {
		return nil, refuse(whyInternal, "%w", err)
	}
	r.until = leaf.NotAfter
	return chain, nil
}
