// Package h2 is what the mesh's two HTTP/2 endpoints have in common: the one on goroutines
// (internal/hbone) and the one for event loops (internal/hbone/mux). It holds their settings, errors,
// flood meters and receive windows. It does no I/O, knows no streams and takes no locks.
package h2
