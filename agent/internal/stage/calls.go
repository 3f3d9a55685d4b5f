package stage

import (
	"testing"
)

// Listen starts a server in the process.
func (p *Process) Listen(tb testing.TB, addr, who string) {
	tb.Helper()
	p.must(tb, "Box.Listen", Listen{addr, who}, new(int))
}

// Dial connects.
func (p *Process) Dial(tb testing.TB, d Dial) Conn {
	tb.Helper()
	var c Conn
	p.must(tb, "Box.Dial", d, &c)
	return c
}

// Ping uses a connection.
func (p *Process) Ping(c Conn) error { return p.call("Box.Ping", c.ID, new(int)) }

// Bulk sends n bytes, then the end, and returns how many came back.
func (p *Process) Bulk(c Conn, n int) (got int, err error) {
	err = p.call("Box.Bulk", [2]int{c.ID, n}, &got)
	return got, err
}

// End waits for the peer's end of a connection.
func (p *Process) End(tb testing.TB, c Conn) (how string) {
	tb.Helper()
	p.must(tb, "Box.End", c.ID, &how)
	return how
}

// Reuse disconnects a connection's socket and connects it again.
func (p *Process) Reuse(c Conn, to string) error {
	return p.call("Box.Reuse", Again{c.ID, to}, new(int))
}

// Close ends a connection.
func (p *Process) Close(tb testing.TB, c Conn) {
	tb.Helper()
	p.must(tb, "Box.Close", c.ID, new(int))
}

// Sysctl sets a sysctl of the process's namespace, or only reads it if v is "".
func (p *Process) Sysctl(tb testing.TB, key, v string) (old string) {
	tb.Helper()
	p.must(tb, "Box.Sysctl", [2]string{key, v}, &old)
	return old
}

// Rules counts marked rules, and the routes of a table.
func (p *Process) Rules(tb testing.TB, table int) (rules, routes int) {
	tb.Helper()
	var n [2]int
	p.must(tb, "Box.Rules", table, &n)
	return n[0], n[1]
}

// ZDS tries a ZDS socket.
func (p *Process) ZDS(tb testing.TB, path string) (how string) {
	tb.Helper()
	p.must(tb, "Box.ZDS", path, &how)
	return how
}

// Storm connects without pause until the returned function is called.
func (p *Process) Storm(tb testing.TB, d Dial) (stop func() Tally) {
	tb.Helper()
	var id int
	p.must(tb, "Box.StormStart", d, &id)
	return func() (tally Tally) {
		tb.Helper()
		p.must(tb, "Box.StormStop", id, &tally)
		return tally
	}
}

// Log is what the proxy accepted since the last call.
func (p *Process) Log(tb testing.TB) (log []Event) {
	tb.Helper()
	p.must(tb, "Proxy.Log", 0, &log)
	return log
}

// Behave changes the proxy's manners.
func (p *Process) Behave(tb testing.TB, m Manners) {
	tb.Helper()
	p.must(tb, "Proxy.Behave", m, new(int))
}

// Snapshot is what the last whole snapshot named, nil before its end.
func (p *Process) Snapshot(tb testing.TB) (uids []string) {
	tb.Helper()
	p.must(tb, "Proxy.Snapshot", 0, &uids)
	return uids
}

// Drained says whether the proxy was asked to drain.
func (p *Process) Drained(tb testing.TB) (is bool) {
	tb.Helper()
	p.must(tb, "Proxy.Drained", 0, &is)
	return is
}

func (p *Process) must(tb testing.TB, method string, args, reply any) {
	tb.Helper()
	if err := p.call(method, args, reply); err != nil {
		tb.Fatalf("%s in process %d: %v", method, p.PID, err)
	}
}
