package certs

import (
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The back-off of a certificate of usual life. Istio's are 1 s and 150 s.
const (
	firstRetry = time.Second
	lastRetry  = 150 * time.Second
	awayRetry  = 15 * time.Second // nobody was there to refuse
	usualLife  = 24 * time.Hour
)

// retryAfter says how long to wait after so many failures in a row (at least 1), with a fifth of
// jitter. A short life shortens both ends, else it would be over before the second try.
func retryAfter(fails int, err error, life time.Duration) time.Duration {
	if life <= 0 {
		life = usualLife
	}
	first, last := min(firstRetry, life/50), min(lastRetry, life/10)
	if c := status.Code(err); c == codes.Unavailable || c == codes.DeadlineExceeded {
		last = min(last, awayRetry)
	}
	d := last
	if fails < 20 {
		d = min(last, first<<(fails-1))
	}
	d = max(d, 10*time.Millisecond)
	return d*4/5 + rand.N(d*2/5)
}
