package gate

import "sync/atomic"

// Take counts one more user of something bounded (0: not), and reports whether the bound allows it. It is
// counted in any case, until release.
func Take(n *atomic.Int64, bound int64) (release func(), ok bool) {
	now := n.Add(1)
	return func() { n.Add(-1) }, bound == 0 || now <= bound
}
