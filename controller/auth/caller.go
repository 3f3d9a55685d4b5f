package auth

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/ambitmesh/ambit/internal/identity"
)

// Caller is who is behind a call.
type Caller struct {
	URI   string    // its own SPIFFE identity
	Node  string    // whose pods' identities it may ask for; "" for one that may have its own only
	Until time.Time // when its credential ends; it has not yet
}

// String names the caller in logs and for its share of requests: all proxies have one account.
func (c Caller) String() string {
	if c.Node == "" || strings.HasSuffix(c.URI, "/node/"+c.Node) {
		return c.URI
	}
	return c.URI + " on " + c.Node
}

// Why a caller is not known; compare with errors.Is. Any other error refuses its credential.
var (
	ErrNone        = errors.New("neither client certificate nor token of a service account")
	ErrBusy        = errors.New("too many tokens to look at")
	ErrExpired     = errors.New("the credential has ended")
	ErrUnavailable = errors.New("tokens cannot be looked at now")
)

// Authenticator judges callers. Safe for concurrent use.
type Authenticator struct {
	TrustDomain string
	Accounts    *Accounts        // nil: tokens of service accounts are unknown
	Now         func() time.Time // required
}

// Caller returns who is behind a call. A certificate, whose chain was checked at the handshake
// (identity.NodeServerConfig), counts before a token.
func (a *Authenticator) Caller(ctx context.Context) (Caller, error) {
	if leaf := leafOf(ctx); leaf != nil {
		return a.certified(leaf)
	}
	token, ok := Bearer(ctx)
	if a.Accounts == nil || !ok || !isJWT(token) {
		return Caller{}, ErrNone
	}
	return a.Accounts.caller(ctx, token, a.TrustDomain)
}

func leafOf(ctx context.Context) *x509.Certificate {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return nil
	}
	return info.State.PeerCertificates[0]
}

// certified reads a certificate. A connection may outlive the one that it was opened with.
func (a *Authenticator) certified(leaf *x509.Certificate) (Caller, error) {
	domain, node, err := identity.NodeName(leaf)
	if err != nil {
		id, err := identity.PeerID(leaf)
		if err != nil {
			return Caller{}, err
		}
		domain = id.TrustDomain
	}
	if domain != a.TrustDomain {
		return Caller{}, fmt.Errorf("%q: another trust domain", domain)
	}
	if a.Now().After(leaf.NotAfter) {
		return Caller{}, fmt.Errorf("client certificate, %s: %w", leaf.NotAfter, ErrExpired)
	}
	return Caller{URI: leaf.URIs[0].String(), Node: node, Until: leaf.NotAfter}, nil
}

// Bearer returns the one token that a call carries.
func Bearer(ctx context.Context) (string, bool) {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get("authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "bearer")
}

// peerHost is the address that a call comes from.
func peerHost(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(p.Addr.String())
	if err != nil {
		return p.Addr.String()
	}
	return host
}
