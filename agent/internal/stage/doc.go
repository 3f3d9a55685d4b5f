// Package stage plays a node for the agent's tests: network namespaces with real processes in cgroups of
// their own, and a small node proxy that speaks ZDS.
//
// Every part is a process of the test binary, started again in a role: TestMain must call Main first.
// The namespaces live as long as their processes, and the mounts as long as the test binary, so that a
// killed test leaves nothing but empty cgroup directories, which the next one sweeps.
package stage
