// Package engine is the border between bytes and decisions. An Engine owns every descriptor and copies
// every byte; a Decider is told of connections and says what to do with them. Neither knows the
// other's insides, so engines can be exchanged and decisions can be tested without sockets.
package engine
