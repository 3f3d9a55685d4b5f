package std

import (
	"context"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/trust"
)

// cert waits for a certificate of id that is valid.
func (e *Engine) cert(ctx context.Context, id identity.ID) (*identity.Cert, error) {
	return trust.Source{Certs: e.opts.Certs, Wait: e.opts.CertWait, Now: e.opts.Now}.Cert(ctx, id)
}
