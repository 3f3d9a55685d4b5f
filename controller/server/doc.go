// Package server is the controller as a process: it reads objects, keeps the proxies' view of them,
// signs certificates, and says on its admin socket what became of everything.
package server
