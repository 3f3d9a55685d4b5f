// Package machine runs one machine of a test cluster: a process with namespaces of its own (network,
// mounts, processes, host name, IPC, cgroups) whose first process keeps the machine's daemons running.
// When that process ends, all of the machine ends; it ends when whoever started it does.
//
// The program that starts machines is also their first process: its main calls [Main] before all else.
package machine
