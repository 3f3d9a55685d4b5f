package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Why a peer's certificate was refused; compare with errors.Is.
var (
	ErrTrustDomain = errors.New("peer is of another trust domain")
	ErrWrongPeer   = errors.New("peer is not whom we called")
	ErrExpired     = errors.New("peer's certificate is outside its life")
	ErrUntrusted   = errors.New("peer's certificate does not chain to the mesh's roots")
	ErrNoIdentity  = errors.New("peer's certificate names no single SPIFFE identity")
)

// PeerID returns the workload identity of a leaf: exactly one URI SAN of the workload form.
func PeerID(leaf *x509.Certificate) (ID, error) {
	if len(leaf.URIs) != 1 {
		return ID{}, fmt.Errorf("%d URI SANs: %w", len(leaf.URIs), ErrNoIdentity)
	}
	id, err := Parse(leaf.URIs[0].String())
	if err != nil {
		return ID{}, fmt.Errorf("%w: %w", ErrNoIdentity, err)
	}
	return id, nil
}

// NodeURI is the identity of a machine that has joined: spiffe://<trust domain>/node/<name>.
func NodeURI(trustDomain, node string) string {
	return "spiffe://" + trustDomain + "/node/" + node
}

// NodeName returns the trust domain and the node of a leaf made for a machine.
func NodeName(leaf *x509.Certificate) (trustDomain, node string, err error) {
	if len(leaf.URIs) != 1 {
		return "", "", fmt.Errorf("%d URI SANs: %w", len(leaf.URIs), ErrNoIdentity)
	}
	return ParseNodeURI(leaf.URIs[0].String())
}

// ParseNodeURI is the inverse of NodeURI.
func ParseNodeURI(uri string) (trustDomain, node string, err error) {
	rest, ok := strings.CutPrefix(uri, "spiffe://")
	p := strings.Split(rest, "/")
	if !ok || len(p) != 3 || p[1] != "node" || !validTrustDomain(p[0]) || !validSegment(p[2]) {
		return "", "", fmt.Errorf("%q is not a node's identity: %w", uri, ErrNoIdentity)
	}
	return p[0], p[2], nil
}

// checkDomain accepts workloads of one trust domain.
func checkDomain(leaf *x509.Certificate, trustDomain string) error {
	id, err := PeerID(leaf)
	if err != nil {
		return err
	}
	if id.TrustDomain != trustDomain {
		return fmt.Errorf("%s, want trust domain %s: %w", id, trustDomain, ErrTrustDomain)
	}
	return nil
}

// checkWanted accepts exactly the URIs in want.
func checkWanted(leaf *x509.Certificate, want []string) error {
	if len(leaf.URIs) != 1 {
		return fmt.Errorf("%d URI SANs: %w", len(leaf.URIs), ErrNoIdentity)
	}
	if uri := leaf.URIs[0].String(); !slices.Contains(want, uri) {
		return fmt.Errorf("%s, want %s: %w", uri, strings.Join(want, " or "), ErrWrongPeer)
	}
	return nil
}
