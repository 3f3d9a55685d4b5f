// Package kernels tries redirection on other kernels: it boots Debian's kernels in qemu, with software
// emulation and an initramfs of our own, and runs the tests of agent and bpf inside.
package kernels
