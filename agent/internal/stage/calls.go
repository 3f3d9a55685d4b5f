package stage

import (
	"testing"
)

// Listen starts a server in the process.
func (p *Process) Listen(t testing.TB, addr, who string) {
	t.Helper()
	p.must(t, "Box.Listen", Listen{addr, who}, new(int))
}

// Dial connects.
func (p *Process) Dial(t testing.TB, d Dial) Conn {
	t.Helper()
	var c Conn
	p.must(t, "Box.Dial", d, &c)
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
func (p *Process) End(t testing.TB, c Conn) (how string) {
	t.Helper()
	p.must(t, "Box.End", c.ID, &how)
	return how
}

// Reuse disconnects a connection's socket and connects it again.
func (p *Process) Reuse(c Conn, to string) error {
	return p.call("Box.Reuse", Again{c.ID, to}, new(int))
}

// Close ends a connection.
func (p *Process) Close(t testing.TB, c Conn) {
	t.Helper()
	p.must(t, "Box.Close", c.ID, new(int))
}

// Sysctl sets a sysctl of the process's namespace, or only reads it if v is "".
func (p *Process) Sysctl(t testing.TB, key, v string) (old string) {
	t.Helper()
	p.must(t, "Box.Sysctl", [2]string{key, v}, &old)
	return old
}

// Rules counts marked rules, and the routes of a table.
func (p *Process) Rules(t testing.TB, table int) (rules, routes int) {
	t.Helper()
	var n [2]int
	p.must(t, "Box.Rules", table, &n)
	return n[0], n[1]
}

// ZDS tries a ZDS socket.
func (p *Process) ZDS(t testing.TB, path string) (how string) {
	t.Helper()
	p.must(t, "Box.ZDS", path, &how)
	return how
}

// Storm connects without pause until the returned function is called.
func (p *Process) Storm(t testing.TB, d Dial) (stop func() Tally) {
	t.Helper()
	var id int
	p.must(t, "Box.StormStart", d, &id)
	return func() (tally Tally) {
		t.Helper()
		p.must(t, "Box.StormStop", id, &tally)
		return tally
	}
}

// Log is what the proxy accepted since the last call.
func (p *Process) Log(t testing.TB) (log []Event) {
	t.Helper()
	p.must(t, "Proxy.Log", 0, &log)
	return log
}

// Behave changes the proxy's manners.
func (p *Process) Behave(t testing.TB, m Manners) {
	t.Helper()
	p.must(t, "Proxy.Behave", m, new(int))
}

// Drained says whether the proxy was asked to drain.
func (p *Process) Drained(t testing.TB) (is bool) {
	t.Helper()
	p.must(t, "Proxy.Drained", 0, &is)
	return is
}

func (p *Process) must(t testing.TB, method string, args, reply any) {
	t.Helper()
	if err := p.call(method, args, reply); err != nil {
		t.Fatalf("%s in process %d: %v", method, p.PID, err)
	}
}
