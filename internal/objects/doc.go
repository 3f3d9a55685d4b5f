// Package objects gives every consumer ordinary client-go informers from a directory of Kubernetes
// YAML, as the API server would. Decoding is strict: what is not understood is refused with file,
// document and reason, and the rest works on.
package objects
