// Package build makes the programs and images of a Kubernetes cluster out of Go modules, and keeps them in
// a cache: what was built from the same inputs is not built again.
package build
