// Package lab makes a cluster of network namespaces on one machine: nodes with their own agent and
// ztunnel, a fabric between them, a controller, and pods with any program inside. It starts the
// binaries and touches nothing of the machine but network namespaces, a cgroup2 subtree and a
// directory below /run/ambit-lab. A lab whose owner was killed is swept by the next.
//
// Addresses are the same in every lab: namespaces keep labs apart.
package lab
