// Package decide judges connections for an engine: who calls, whom, which way, and whether policy
// allows it. It looks only at the current snapshot of the mesh and at what the engine tells, so every
// decision can be tested, and explained, without a socket.
//
// A decision is made in two steps. First facts: own finds a pod's record, route finds where an outbound
// connection goes, admit judges one that asks to come in. Then a plan for the engine, or, for Explain,
// words. Both are made from the same facts.
package decide
