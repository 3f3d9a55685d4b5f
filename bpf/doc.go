// Package bpf is the kernel side of redirection: it loads the programs, keeps them and their maps
// pinned below <bpffs>/ambit/<instance>, and types the maps.
//
// Pins outlive the agent: a dead agent changes nothing for the pods. A new agent takes the maps over
// and replaces the programs inside the pinned links, so that no connection is ever judged by nobody.
package bpf
