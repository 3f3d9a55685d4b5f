package app

import (
	"io"
	"net/rpc/jsonrpc"
	"testing"
	"time"
)

// serve runs the program over pipes, as a lab does, and returns how to call it.
func serve(t *testing.T) func(method string, args, out any) {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	go Serve(inR, outW)
	client := jsonrpc.NewClient(struct {
		io.Reader
		io.WriteCloser
	}{outR, inW})
	t.Cleanup(func() { client.Close() })
	return func(method string, args, out any) {
		t.Helper()
		if err := client.Call(Service+"."+method, args, out); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
	}
}

func TestBulkChecksBothDirections(t *testing.T) {
	call := serve(t)
	var l Listening
	call("Listen", &ListenArgs{Kind: BulkServer, Host: "127.0.0.1"}, &l)
	var r BulkReport
	call("Bulk", &BulkArgs{Dial: DialArgs{Address: l.Address}, Send: 300_001, Receive: 1 << 20}, &r)
	var st ListenerStats
	call("Stats", &Ref{l.ID}, &st)
	if r.Received != 1<<20 || st.Accepted != 1 || st.Received != 300_001 {
		t.Errorf("report %+v, stats %+v", r, st)
	}
}

func TestLoopCountsCallsAndFailures(t *testing.T) {
	call := serve(t)
	var l Listening
	call("Listen", &ListenArgs{Kind: Banner, Host: "127.0.0.1", Name: "it"}, &l)
	var loop Ref
	call("LoopStart", &LoopArgs{Dial: DialArgs{Address: l.Address}, Banner: true, Workers: 2, Count: 5}, &loop)
	r := finished(t, call, loop)
	if r.OK != 10 || r.Failed != 0 || r.Names["it"] != 10 {
		t.Errorf("report %+v", r)
	}
	call("Unlisten", &Ref{l.ID}, &struct{}{})
	call("LoopStart", &LoopArgs{Dial: DialArgs{Address: l.Address}, Count: 3}, &loop)
	if r := finished(t, call, loop); r.Failed != 3 || r.Errors["dial: connect: connection refused"]+r.Errors["dial: connection refused"] != 3 {
		t.Errorf("report %+v", r)
	}
}

func finished(t *testing.T, call func(string, any, any), loop Ref) Report {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var r Report
		if call("LoopReport", &loop, &r); !r.Running {
			return r
		}
	}
	t.Fatal("the loop does not end")
	return Report{}
}

func TestHalfCloseBothWays(t *testing.T) {
	call := serve(t)
	for _, kind := range []Kind{Sink, HalfServer} {
		var l Listening
		var x Dialed
		var a Answer
		call("Listen", &ListenArgs{Kind: kind, Host: "127.0.0.1", Name: "it"}, &l)
		call("Dial", &DialArgs{Address: l.Address}, &x)
		if kind == HalfServer { // its end comes first, what we send then still arrives
			call("Read", &IO{ID: x.ID, N: -1}, &a)
		}
		call("Write", &IO{ID: x.ID, Data: []byte("hello")}, &struct{}{})
		call("CloseWrite", &IO{ID: x.ID}, &struct{}{})
		if kind == Sink {
			call("Read", &IO{ID: x.ID, N: -1}, &a)
		}
		if !a.EOF || len(a.Data) == 0 {
			t.Errorf("%s: answer %+v", kind, a)
		}
		var st ListenerStats
		for deadline := time.Now().Add(time.Minute); st.Active > 0 || st.Received < 5; time.Sleep(time.Millisecond) {
			if call("Stats", &Ref{l.ID}, &st); time.Now().After(deadline) {
				t.Fatalf("%s: stats %+v", kind, st)
			}
		}
	}
}
