// Package resident keeps a long-running process' resident memory at what it uses.
package resident
