package app

import "time"

// Kind says what a listener does with its connections.
type Kind string

// The kinds of listeners.
const (
	Banner     Kind = "banner"     // speaks first: "<remote> <local> <name>\n"; then echoes
	Echo       Kind = "echo"       // silent until spoken to; echoes and passes a half-close on
	Sink       Kind = "sink"       // reads to the end, then answers "<bytes> <sha256>\n"
	Slow       Kind = "slow"       // as Sink, reading Rate bytes a second
	Source     Kind = "source"     // sends Size bytes of Pattern, half-closes, reads to the end
	BulkServer Kind = "bulk"       // the other side of Control.Bulk
	HalfServer Kind = "halfserver" // sends the banner, half-closes, reads to the end
	Closer     Kind = "closer"     // closes at once
	Resetter   Kind = "resetter"   // resets at once
	Mute       Kind = "mute"       // accepts and never says a word
	HTTP       Kind = "http"       // answers GET with "<name>\n" and, with Upstream, what that answered
)

// ListenArgs opens a listener. Port 0 lets the kernel choose.
type ListenArgs struct {
	Kind     Kind
	Port     int
	Host     string // address to listen on; "" is all
	Network  string // "tcp" (default), "tcp4" or "tcp6"
	Name     string // shown in banners; default the host's name
	MPTCP    bool
	Device   string // SO_BINDTODEVICE
	Size     int64  // Source: bytes
	Rate     int    // Slow: bytes per second
	Upstream string // HTTP: URL asked for every request
	Status   int    // HTTP: status answered instead of 200
}

// Listening is an open listener.
type Listening struct {
	ID      int
	Address string
}

// ListenerStats is what a listener has seen. Peers are the remote addresses of the latest 1,000 connections.
type ListenerStats struct {
	Accepted, Active int
	Received         int64
	Peers            []string
}

// DialArgs opens a connection.
type DialArgs struct {
	Address string        // host:port
	Timeout time.Duration // 0: 10 s
	Local   string        // address to bind, with or without port
	Device  string        // SO_BINDTODEVICE
	Mark    int           // SO_MARK
	MPTCP   bool
	Mapped  bool // an IPv4 address through an IPv6 socket (::ffff:a.b.c.d)
}

// Dialed is an open connection.
type Dialed struct {
	ID            int
	Local, Remote string
	Took          time.Duration
}

// IO acts on a connection that Dial opened.
type IO struct {
	ID      int
	Data    []byte
	N       int           // Read: exactly so many bytes; 0: one line; -1: to the end
	Timeout time.Duration // 0: 10 s
}

// Answer is what was read.
type Answer struct {
	Data []byte
	EOF  bool
}

// LoopArgs starts workers that call again and again.
type LoopArgs struct {
	Dial     DialArgs
	Held     bool          // one connection a worker, pinged; else a connection per call
	Banner   bool          // the server speaks first
	Redial   bool          // Held: dial again after a failure
	Workers  int           // 0: 1
	Interval time.Duration // between calls of a worker
	Size     int           // of the ping; 0: 32 bytes
	Count    int           // calls of each worker; 0: until stopped
}

// Ref names a loop, a group or a listener.
type Ref struct{ ID int }

// PortRef names the listeners on a port.
type PortRef struct{ Port int }

// Report counts calls.
type Report struct {
	OK, Failed int
	Errors     map[string]int // by text
	Names      map[string]int // by the name in the banner
	P50, P99   time.Duration
	Max        time.Duration
	LastOK     time.Time
	Running    bool
}

// ManyArgs opens N connections at once and keeps them if Hold.
type ManyArgs struct {
	Dial   DialArgs
	N      int
	Banner bool
	Hold   bool
}

// Group is many open connections.
type Group struct {
	ID     int
	Report Report
}

// BulkArgs moves bytes both ways at once over one connection to a BulkServer, checking every one.
type BulkArgs struct {
	Dial          DialArgs
	Send, Receive int64
	Timeout       time.Duration // 0: 60 s
}

// BulkReport says what arrived.
type BulkReport struct {
	Sent, Received int64
	Took           time.Duration
}

// GarbageArgs connects N times, sends Payload, half-closes and waits for the other side to end the connection.
type GarbageArgs struct {
	Dial    DialArgs
	N       int
	Workers int // 0: 8
	Payload []byte
}

// GetArgs is one HTTP request on a connection of its own.
type GetArgs struct {
	URL     string
	Timeout time.Duration // 0: 10 s
}

// Got is its answer.
type Got struct {
	Status int
	Body   string
	Took   time.Duration
}
