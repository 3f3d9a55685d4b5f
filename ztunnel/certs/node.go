package certs

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ambitmesh/ambit/internal/identity"
)

// Node keeps the node's own certificate: it joins by a token and renews at half of the life. A proxy that
// needs none has a nil Node, on which a Manager's calls do nothing.
type Node struct {
	URI       string
	CA        *CA
	TokenFile string
	Now       func() time.Time
	Log       *slog.Logger

	changed func(*identity.Cert) // the manager's

	once  sync.Once
	ready chan struct{}
	wake  chan struct{}
	spare chan struct{} // closed when nothing more can be inherited

	mu    sync.Mutex
	cert  issued
	err   error
	tried [sha256.Size]byte // the token that was used or refused last
}

// NewNode returns a Node that does nothing until Run.
func NewNode(uri, tokenFile string, ca *CA, now func() time.Time, log *slog.Logger) *Node {
	return &Node{
		URI: uri, CA: ca, TokenFile: tokenFile, Now: now, Log: log,
		ready: make(chan struct{}), wake: make(chan struct{}, 1), spare: make(chan struct{}),
	}
}

// Cert returns the certificate, or nil. It may have expired.
func (n *Node) Cert() *identity.Cert {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cert.Cert
}

// Ready is closed once there has been a certificate, or none is needed.
func (n *Node) Ready() <-chan struct{} {
	if n == nil {
		none := make(chan struct{})
		close(none)
		return none
	}
	return n.ready
}

// uri is the node's identity, "" if it needs none.
func (n *Node) uri() string {
	if n == nil {
		return ""
	}
	return n.URI
}

// Err is why the last attempt failed; nil after a good one.
func (n *Node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// inheritTime is how long a new process waits for its predecessor's certificate before it spends a token.
const inheritTime = 2 * time.Second

// Inherited says that the agent has handed over all that it has.
func (n *Node) Inherited() {
	if n != nil {
		n.once.Do(func() { close(n.spare) })
	}
}

// Run keeps the certificate until ctx ends.
func (n *Node) Run(ctx context.Context) {
	t := time.NewTimer(inheritTime)
	defer t.Stop()
	select {
	case <-n.spare:
	case <-t.C:
	case <-ctx.Done():
		return
	}
	for fails := 0; ctx.Err() == nil; {
		wait := n.until()
		if wait <= 0 {
			err := n.ask(ctx)
			n.note(err)
			if err == nil {
				fails = 0
				continue
			}
			if ctx.Err() != nil {
				break
			}
			fails++
			wait = n.retryAfter(fails, err)
			n.Log.Warn("no certificate for this node", "identity", n.URI, "error", err, "retry_in", wait)
		}
		if n.sleep(ctx, wait) {
			fails = 0
		}
	}
}

// until says how long to wait before asking.
func (n *Node) until() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cert.Cert == nil {
		return 0
	}
	return min(n.cert.renewAt.Sub(n.Now()), lookEvery)
}

func (n *Node) retryAfter(fails int, err error) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return min(retryAfter(fails, err, n.cert.life), lookEvery)
}

// sleep waits, but no longer than until another certificate or another token is there; then it
// returns true.
func (n *Node) sleep(ctx context.Context, d time.Duration) (news bool) {
	end := n.Now().Add(d)
	before := n.tokenSum()
	for left := d; left > 0 && ctx.Err() == nil; left = end.Sub(n.Now()) {
		t := time.NewTimer(min(left, time.Second))
		select {
		case <-n.wake:
			t.Stop()
			return true
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		if n.tokenSum() != before && !n.valid() {
			return true
		}
	}
	return false
}

func (n *Node) valid() bool {
	c := n.Cert()
	return c != nil && c.Valid(n.Now())
}

// ask renews with the certificate that there is. Without one, or when that fails and there is a token
// that has not been tried (the controller may not know the certificate's root any more), it joins.
func (n *Node) ask(ctx context.Context) error {
	var err error
	if n.valid() {
		err = n.take(ctx, func(ctx context.Context, csr []byte) ([]string, error) { return n.CA.Sign(ctx, n.URI, csr) })
		if err == nil || n.spent() {
			return err
		}
	}
	token, tokenErr := n.token()
	if tokenErr != nil {
		return cmp.Or(err, tokenErr)
	}
	err = n.take(ctx, func(ctx context.Context, csr []byte) ([]string, error) { return n.CA.Join(ctx, token, csr) })
	if err == nil || refused(err) {
		n.mu.Lock()
		n.tried = sha256.Sum256([]byte(token))
		n.mu.Unlock()
	}
	return err
}

func refused(err error) bool {
	c := status.Code(err)
	return c == codes.Unauthenticated || c == codes.PermissionDenied
}

func (n *Node) take(ctx context.Context, sign func(context.Context, []byte) ([]string, error)) error {
	c, err := request(ctx, n.URI, n.Now, sign)
	if err == nil {
		n.set(c)
		n.Log.Info("this node has a certificate", "identity", n.URI, "not_after", c.Leaf.NotAfter)
	}
	return err
}

// set takes a certificate over.
func (n *Node) set(c issued) {
	n.mu.Lock()
	first := n.cert.Cert == nil
	n.cert = c
	n.mu.Unlock()
	if n.changed != nil {
		n.changed(c.Cert)
	}
	if first {
		close(n.ready)
	}
}

// trust makes certs the roots by which the controller is known too. Called with the manager's lock held.
func (n *Node) trust(certs []*x509.Certificate, pool *x509.CertPool) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cert.Cert != nil {
		own := *n.cert.Cert
		own.Roots, own.RootCerts = pool, certs
		n.cert.Cert = &own
	}
}

func (n *Node) note(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
}
