// Package demo walks through a mesh of two nodes on one machine: each step does one thing, measures
// what it claims, and prints what it saw.
package demo
