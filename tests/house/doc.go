// Package house holds the project to its own rules: who imports whom, that every package says what it
// is for, that files stay readable, and that the tree speaks of nothing but itself.
package house
