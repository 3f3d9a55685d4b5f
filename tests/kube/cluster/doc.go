// Package cluster brings up a real Kubernetes on this machine: etcd, the API server, the controller
// manager and the scheduler on one [machine], and nodes with containerd, kubelet, CNI and kube-proxy on
// their own. Nothing of it is in the host's network namespace, and it ends with the calling process.
package cluster
