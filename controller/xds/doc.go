// Package xds is the controller's side of delta xDS: it serves a Cache of resources to the nodes'
// proxies and learns from them which pods are captured.
//
// # Order
//
// A stream never sees a policy later than a workload that names it: what is new of policies is sent
// before workloads, and policies that are gone are removed after the workloads that no longer name
// them were acknowledged. One response of a type is under way at a time; what changes meanwhile is
// sent together after its acknowledgement. A change costs each stream what changed, not what there is.
//
// A proxy tells at the start of a stream the versions of the objects that it has seen. A controller
// that has not read those yet says nothing for a while (StaleWait), then answers with nothing, which
// keeps what the proxy has, and sends differences once it has caught up.
//
// # Captured pods
//
// HBONE is announced for a pod while its own node's proxy says that it captures it (a subscription of
// type Capture). A node's word about a pod elsewhere counts for nothing. Where several controllers serve,
// each hears of its own proxies' nodes only, and a mark on the pod tells it of the others'.
//
// When a proxy's stream ends without an unsubscription, the pod stays announced: its listeners live
// in the kernel and connections queue there, whereas plaintext to it may be forbidden. The claim is
// orphaned. It ends when a stream of the same node unsubscribes, or has been up for OrphanGrace
// without claiming the pod, or when the pod is gone or runs elsewhere. It also ends UnwantedGrace
// after it was orphaned if the pod's labels do not ask for capture: an agent without a proxy lets go of
// such a pod after a while, and taking the label off must help where a proxy is broken.
//
// Claims outlive the controller (Claims, Restore), so a restarted controller announces what its
// predecessor did, and nothing turns plain because it has not heard of a node yet. A controller
// without that memory holds its first answer to proxies that do have something, for StartGrace, so
// that the others can repeat their claims; what the proxies have stays in force meanwhile.
//
// A claim is confirmed to its proxy once every connected proxy has acknowledged the announcement, a
// retirement once every connected proxy has acknowledged that the pod is plain: only then may the
// node close the pod's tunnel port. A proxy that does not acknowledge for AckWait counts no longer,
// until it does. A proxy that was lost less than StartGrace ago is likely to come back with what it
// knew, so it counts for retirements until then, and a restarted controller confirms no retirement
// before StartGrace.
package xds
