package ca

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxCallers bounds the table; beyond it, limiters that are full again are forgotten.
const maxCallers = 10_000

// limiters is one rate limiter for each caller with a certificate.
type limiters struct {
	limit rate.Limit

	mu  sync.Mutex
	all map[string]*rate.Limiter
}

func (l *limiters) allow(caller string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[string]*rate.Limiter{}
	}
	one := l.all[caller]
	if one == nil {
		if len(l.all) >= maxCallers {
			l.forget(now)
		}
		one = rate.NewLimiter(l.limit, max(1, int(10*l.limit)))
		l.all[caller] = one
	}
	return one.AllowN(now, 1)
}

func (l *limiters) forget(now time.Time) {
	for name, one := range l.all {
		if one.TokensAt(now) >= float64(one.Burst()) {
			delete(l.all, name)
		}
	}
}
