// Package objects gives every consumer ordinary client-go informers from an API server, or from a
// directory of the same YAML. Decoding is strict: what is not understood is refused with its place and
// reason, and the rest works on.
package objects
