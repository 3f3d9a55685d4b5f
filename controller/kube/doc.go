// Package kube is what a controller in a cluster does besides serving proxies: it keeps the CA in a Secret
// that all replicas share and the trust bundle in a ConfigMap, and one replica at a time, the holder of a
// Lease, writes what became of users' objects into their status.
package kube
