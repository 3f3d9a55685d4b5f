// Package loop is the engine for speed: event loops on raw descriptors, and an own TLS 1.3 record layer
// under the handshakes of crypto/tls.
//
// # What runs where
//
// A worker is one event loop (package poll) and what belongs to it: buffers, pipes, and every descriptor
// that it has been given. A flow (a captured connection, or a tunnel that a peer opened) is worked on by
// one worker at a time, which changes only before its relay begins: a flow that is to go through a tunnel
// moves to the worker that owns the tunnel's connection. So relays take no locks, and a flow, its ends and
// the connection that carries it are the worker's alone, save for what their comments say otherwise.
//
// Two things have goroutines of their own: TLS handshakes (with the dial before it, on the client's
// side), because crypto/tls blocks; and flows whose Plan says Wait. They post what comes of it to the
// flow's worker. Handshakes share a budget of CPUs, so that many new peers do not starve live traffic.
//
// What other goroutines want of a flow (Kill, Recheck, Remove) they leave as its outcome, the first of
// which counts, and post to its worker. The Decider is called on workers, and under the flow's mutex from
// Rejudge on.
//
// # How bytes move
//
// Between two sockets by read and write through the worker's one buffer, or by splice through a borrowed
// pipe while there is bulk. From a socket into a tunnel by reading straight into the open TLS record. From
// a tunnel by writing straight from the decrypted buffer. What a slow socket does not take waits in pooled
// chunks, and its sender is held back: by its socket, or by the tunnel's flow control. An idle flow holds
// neither buffer nor pipe.
package loop
