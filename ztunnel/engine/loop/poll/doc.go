// Package poll runs event loops: one goroutine and one epoll descriptor each.
//
// The epoll descriptor is nested in the runtime's own, so a loop with nothing to do is a parked
// goroutine and no thread. Descriptors are added once, edge-triggered, and stay until they are closed:
// a Handler must read or write until the kernel says EAGAIN, or ask for another turn with Again.
//
// A loop may have leave to Watch for a moment before it sleeps.
//
// A turn is: a batch of events, what was posted, what asked for another turn, timers, and then, once for
// all of it, Flush of whoever has something to send. All of that, and every method but Post, Run and
// Stop, belongs to the loop's goroutine.
package poll
