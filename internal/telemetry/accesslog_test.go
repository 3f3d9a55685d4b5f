package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestAccessLogLines(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	var out bytes.Buffer
	a := NewAccessLog(&out, nil)
	a.Log(&Line{
		Time: at, Direction: "outbound", Path: "tunnel", HBONEAddr: "10.0.1.1:8080", Service: "web.shop", Sent: 1, Received: 2,
		Source:   LogParty{"10.0.0.1:40000", "client", "shop", "spiffe://c/ns/shop/sa/client"},
		Dest:     LogParty{"10.0.1.1:15008", "far", "shop", "spiffe://c/ns/shop/sa/far"},
		Duration: 1234567 * time.Nanosecond, Attempts: 1, Trace: "00-a-b-00", DryRun: []string{"shop/p"},
	})
	a.Log(&Line{Time: at, Direction: "inbound", Path: "plain", Refused: true, Reason: "policy_deny", Detail: `why "so"` + "\n\xff", Policy: "shop/p"})
	want := `{"time":"2026-01-02T03:04:05.678000Z","level":"INFO","src.addr":"10.0.0.1:40000","src.workload":"client","src.namespace":"shop","src.identity":"spiffe://c/ns/shop/sa/client","dst.addr":"10.0.1.1:15008","dst.workload":"far","dst.namespace":"shop","dst.identity":"spiffe://c/ns/shop/sa/far","dst.hbone_addr":"10.0.1.1:8080","dst.service":"web.shop","direction":"outbound","path":"tunnel","bytes_sent":1,"bytes_recv":2,"duration":"1.235ms","attempts":1,"trace":"00-a-b-00","dry_run":["shop/p"]}
{"time":"2026-01-02T03:04:05.678000Z","level":"WARN","direction":"inbound","path":"plain","bytes_sent":0,"bytes_recv":0,"duration":"0.000ms","attempts":0,"reason":"policy_deny","detail":"why \"so\"\n` + `\ufffd` + `","policy":"shop/p"}
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestAccessLogLevels(t *testing.T) {
	var level slog.LevelVar
	for l, want := range map[slog.Level]string{slog.LevelDebug: "ok refused", slog.LevelInfo: "ok refused", slog.LevelWarn: "refused", slog.LevelError: ""} {
		var out bytes.Buffer
		a := NewAccessLog(&out, &level)
		level.Set(l)
		a.Log(&Line{Path: "ok"})
		a.Log(&Line{Path: "refused", Refused: true})
		var got []string
		for line := range strings.Lines(out.String()) {
			var m map[string]any
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatal(err)
			}
			got = append(got, m["path"].(string))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %q", l, got, want)
		}
	}
	(*AccessLog)(nil).Log(&Line{}) // off
}

// Names come from the network; a line must stay one line of JSON.
func FuzzAccessLog(f *testing.F) {
	f.Add("10.0.0.1", "web.shop", "detail")
	f.Add("\"", "\\", "\x00\n\xff\u2028")
	f.Fuzz(func(t *testing.T, addr, service, detail string) {
		var out bytes.Buffer
		NewAccessLog(&out, nil).Log(&Line{Source: LogParty{Addr: addr}, Service: service, Detail: detail, DryRun: []string{detail}})
		line, ok := strings.CutSuffix(out.String(), "\n")
		var m map[string]any
		if !ok || strings.Contains(line, "\n") || json.Unmarshal([]byte(line), &m) != nil {
			t.Fatalf("%q", out.String())
		}
		if got, _ := m["dst.service"].(string); utf8.ValidString(service) && got != service {
			t.Errorf("%q became %q", service, got)
		}
	})
}

// gate is a writer that blocks until it is opened.
type gate struct {
	open chan struct{}
	mu   sync.Mutex
	got  bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.got.Write(p)
}

func TestWriterNeverBlocks(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	w := NewWriter(g, 1000, nil)
	for range 1000 { // a disk that hangs
		if n, err := io.WriteString(w, "0123456789"); n != 10 || err != nil {
			t.Fatal(n, err)
		}
	}
	if d := w.Dropped(); d < 800 || d > 900 {
		t.Errorf("%d dropped", d)
	}
	close(g.open)
	w.Close(time.Minute)
	if got := uint64(g.got.Len())/10 + w.Dropped(); got != 1000 {
		t.Errorf("%d written and dropped of 1000", got)
	}
	_, _ = io.WriteString(w, "late")
	w.Close(time.Minute)
	if strings.Contains(g.got.String(), "late") {
		t.Error("written after Close")
	}
}

func TestWriterCloseGivesUp(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	t.Cleanup(func() { close(g.open) })
	w := NewWriter(g, 0, nil)
	_, _ = io.WriteString(w, "x")
	w.Close(time.Millisecond) // returns, or the test runs into its time limit
}

func TestWriterClosedWhileUsed(t *testing.T) {
	w := NewWriter(io.Discard, 0, nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				_, _ = io.WriteString(w, "x")
			}
		})
	}
	w.Close(time.Minute)
	wg.Wait()
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriterTellsOfErrors(t *testing.T) {
	var log bytes.Buffer
	w := NewWriter(broken{}, 0, slog.New(slog.NewTextHandler(&log, nil)))
	_, _ = io.WriteString(w, "x")
	for w.Dropped() == 0 {
		time.Sleep(time.Millisecond)
	}
	w.Close(time.Minute)
	if !strings.Contains(log.String(), "disk full") || w.Dropped() != 1 {
		t.Errorf("%d dropped, log %q", w.Dropped(), log.String())
	}
}
