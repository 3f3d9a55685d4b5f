package enginetest

import (
	"syscall"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// benchHandshake is a connection by a new tunnel connection, both ends and the wire between them in this
// process: what counts is the CPU time.
func (by engines) benchHandshake(b *testing.B) {
	for name, resume := range map[string]bool{"full": false, "resumed": true} {
		b.Run(name, func(b *testing.B) {
			m := by.newMesh(b, ServeTCP(b, Echo))
			m.client.o.Resume, m.server.o.Resume = resume, resume
			var s shakes
			m.client.o.Handshake = s.add
			w := newWire(b, m.server.listen(b, engine.HBONE), nil)
			m.in = w.addr
			m.start(b)
			visitEcho(b, m.out)
			start := cpuTime(b)
			for b.Loop() {
				w.cut()
				for m.client.pod.Usage.Tunnels.Load() > 0 {
					time.Sleep(50 * time.Microsecond)
				}
				visitEcho(b, m.out)
			}
			b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N)/1e3, "cpu-us/op")
			if full, resumed := s.counts(); resume && full != 1 || !resume && resumed != 0 {
				b.Errorf("%d full and %d resumed handshakes", full, resumed)
			}
		})
	}
}

// cpuTime is the process's.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
