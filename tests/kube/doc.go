// Package kube tests the mesh in a real Kubernetes that it brings up itself: installed from the manifests
// and images that users get, used with kubectl. It needs root and, besides Go, the Debian packages runc,
// nftables, iproute2 and util-linux. A test that is interrupted leaves nothing that the next does not
// remove.
package kube
