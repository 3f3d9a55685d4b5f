// Package hbone is the mesh's tunnel: HTTP/2 CONNECT over mutual TLS.
//
// It is an HTTP/2 endpoint made for tunnels only, server and client, over any net.Conn (normally a
// *tls.Conn after its handshake). A tunnel is one stream; *Stream is a net.Conn with half-close.
// Frames are read by x/net/http2's Framer and header blocks by its hpack; everything above them
// (flow control, scheduling of writes, limits, pings, drain) is here. The wire is Istio's HBONE.
//
// One goroutine per connection reads. Writes need none while idle: the goroutine that has something
// to send writes it itself, or a short-lived one gathers the frames of many streams into one write.
// mux is the same endpoint for event loops; what the two share is in h2.
package hbone
