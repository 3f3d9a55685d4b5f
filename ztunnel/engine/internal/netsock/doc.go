// Package netsock makes and prepares TCP sockets by descriptor, in the network namespace that they
// are to live in.
package netsock
