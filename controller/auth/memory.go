package auth

import (
	"crypto/sha256"
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// sum names a token: tokens themselves are not kept.
type sum = [sha256.Size]byte

func sumOf(token string) sum { return sha256.Sum256([]byte(token)) }

// maxKnown bounds both tables. Whoever fills them costs the others a question.
const maxKnown = 10_000

type answer struct {
	review Review
	err    error
	until  time.Time
}

// memory is what the cluster answered a short time ago.
type memory struct {
	mu  sync.Mutex
	all map[sum]answer
}

func (m *memory) get(key sum, now time.Time) (answer, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.all[key]
	return a, ok && now.Before(a.until)
}

func (m *memory) put(key sum, a answer, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.all) >= maxKnown {
		maps.DeleteFunc(m.all, func(_ sum, old answer) bool { return !now.Before(old.until) })
	}
	if len(m.all) >= maxKnown {
		clear(m.all)
	}
	m.all[key] = a
}

// limiters is one rate limiter for each address that asks.
type limiters struct {
	limit rate.Limit

	mu  sync.Mutex
	all map[string]*rate.Limiter
}

func (l *limiters) allow(who string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil || len(l.all) >= maxKnown {
		l.all = map[string]*rate.Limiter{}
	}
	one := l.all[who]
	if one == nil {
		one = rate.NewLimiter(l.limit, max(1, int(10*l.limit)))
		l.all[who] = one
	}
	return one.AllowN(now, 1)
}
