// Package std is the engine made of goroutines, the netpoller and crypto/tls: the readable one, and the
// one that others are measured against.
//
// A captured connection, and each tunnel that a peer opens, is a flow: one goroutine that asks the
// Decider, obeys its Plan until a leg is made, and then relays with one more goroutine, one for each
// direction. What can end a flow early (a policy, its pod's removal, a broken leg) cancels the flow's
// context with the cause; the cause becomes the record's reason.
//
// Bytes of a tunnel are held back by the opener's side until the peer has answered 200, so a tunnel
// that fails before that may be opened again without the application noticing.
//
// Two budgets are loop's alone: that of the handshakes that compute at once, and the node's for bytes that
// are queued. Here each pod has its limits, and the Go scheduler shares the CPUs out.
package std
