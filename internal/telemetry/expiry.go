package telemetry

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// expiries are when certificates expire.
type expiries struct {
	mu    sync.Mutex
	until map[string]time.Time // by SPIFFE URI; under mu
}

// CertificateExpiry says when the certificate of an identity (SPIFFE URI) of this node expires; the
// zero time takes the identity away.
func (t *Telemetry) CertificateExpiry(identity string, notAfter time.Time) {
	t.expiry.mu.Lock()
	defer t.expiry.mu.Unlock()
	if notAfter.IsZero() {
		delete(t.expiry.until, identity)
		return
	}
	t.expiry.until[identity] = notAfter
}

func (e *expiries) collect(d map[string]*prometheus.Desc, ch chan<- prometheus.Metric) {
	for _, s := range e.samples(d[expiry]) {
		ch <- s
	}
}

func (e *expiries) samples(d *prometheus.Desc) (out []*sample) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, until := range e.until {
		out = append(out, &sample{desc: d, labels: pairs([]string{"identity"}, []string{id}), value: float64(until.Unix()), gauge: true})
	}
	return out
}
