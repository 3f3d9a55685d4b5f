package resume

import (
	"sync/atomic"
	"time"
)

const (
	mostOfPod  = 256      // sessions that a pod keeps as a client
	leastOfPod = 8        // however many pods there are
	mostOfNode = 2048     // all pods' together, where leastOfPod allows
	mostKept   = 16 << 10 // bytes of a session: its ticket, and the peer's certificates
	longest    = time.Hour
)

// Node is what the pods of a node have in common: a bound on what they keep.
type Node struct {
	on   bool
	now  func() time.Time
	pods atomic.Int64
}

// NewNode makes a Node without pods. If on is false they keep nothing, and give no tickets.
func NewNode(on bool, now func() time.Time) *Node { return &Node{on: on, now: now} }

// Pod adds a pod. Close takes it away.
func (n *Node) Pod() *Pod {
	n.pods.Add(1)
	return &Pod{node: n}
}

// share is how many sessions each pod may keep now.
func (n *Node) share() int {
	return int(min(max(mostOfNode/max(1, n.pods.Load()), leastOfPod), mostOfPod))
}
