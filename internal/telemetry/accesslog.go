package telemetry

import (
	"encoding/json"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"
)

// Line is one connection in the access log. Empty fields are left out.
type Line struct {
	Time      time.Time // of the end
	Direction string    // "inbound" or "outbound", as seen from the pod
	Source    LogParty
	Dest      LogParty
	HBONEAddr string // where the tunnel led: the application's address; Dest.Addr is then the proxy's
	Service   string
	Path      string // "tunnel", "plain" or "same_node"
	Sent      uint64 // bytes from the opener
	Received  uint64 // bytes back
	Duration  time.Duration
	Attempts  int
	Refused   bool // refused or ended early: logged as WARN
	Reason    string
	Detail    string
	Policy    string
	DryRun    []string // policies that would have refused
	Trace     string
}

// LogParty is one end of the connection.
type LogParty struct{ Addr, Workload, Namespace, Identity string }

// AccessLog writes one JSON line per connection, with the keys that Istio's proxies use and ours.
type AccessLog struct {
	out   io.Writer
	level slog.Leveler
	lines sync.Pool
}

// NewAccessLog writes to out, one Write per line, which must not block: see Writer. At levels above
// INFO only refusals are written, above WARN nothing; nil means INFO. A nil AccessLog writes nothing.
func NewAccessLog(out io.Writer, level slog.Leveler) *AccessLog {
	if level == nil {
		level = slog.LevelInfo
	}
	return &AccessLog{out: out, level: level, lines: sync.Pool{New: func() any { return new([]byte) }}}
}

// Enabled reports whether such a line would be written; making one is not free.
func (a *AccessLog) Enabled(refused bool) bool {
	return a != nil && a.level.Level() <= levelOf(refused)
}

func levelOf(refused bool) slog.Level {
	if refused {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// Log writes the line. Errors of the writer are its own to report.
func (a *AccessLog) Log(l *Line) {
	if !a.Enabled(l.Refused) {
		return
	}
	b := a.lines.Get().(*[]byte)
	*b = l.append((*b)[:0])
	_, _ = a.out.Write(*b)
	a.lines.Put(b)
}

func (l *Line) append(b []byte) []byte {
	b = l.Time.UTC().AppendFormat(append(b, `{"time":"`...), "2006-01-02T15:04:05.000000Z")
	b = append(append(append(b, `","level":"`...), levelOf(l.Refused).String()...), '"')
	b = l.Source.append(b, "src")
	b = l.Dest.append(b, "dst")
	for _, f := range [...]struct{ key, value string }{
		{"dst.hbone_addr", l.HBONEAddr}, {"dst.service", l.Service},
		{"direction", l.Direction}, {"path", l.Path},
	} {
		b = appendString(b, f.key, f.value)
	}
	b = strconv.AppendUint(append(b, `,"bytes_sent":`...), l.Sent, 10)
	b = strconv.AppendUint(append(b, `,"bytes_recv":`...), l.Received, 10)
	b = append(b, `,"duration":"`...)
	b = strconv.AppendFloat(b, float64(l.Duration)/float64(time.Millisecond), 'f', 3, 64)
	b = strconv.AppendInt(append(b, `ms","attempts":`...), int64(l.Attempts), 10)
	for _, f := range [...]struct{ key, value string }{
		{"reason", l.Reason}, {"detail", l.Detail}, {"policy", l.Policy}, {"trace", l.Trace},
	} {
		b = appendString(b, f.key, f.value)
	}
	return append(l.appendDryRun(b), "}\n"...)
}

func (p *LogParty) append(b []byte, end string) []byte {
	b = appendString(b, end+".addr", p.Addr)
	b = appendString(b, end+".workload", p.Workload)
	b = appendString(b, end+".namespace", p.Namespace)
	return appendString(b, end+".identity", p.Identity)
}

func (l *Line) appendDryRun(b []byte) []byte {
	if len(l.DryRun) == 0 {
		return b
	}
	list, err := json.Marshal(l.DryRun)
	if err != nil { // a []string always has a form
		return b
	}
	return append(append(b, `,"dry_run":`...), list...)
}

func appendString(b []byte, key, value string) []byte {
	if value == "" {
		return b
	}
	b = append(append(append(b, `,"`...), key...), `":`...)
	if plain(value) {
		return append(append(append(b, '"'), value...), '"')
	}
	quoted, err := json.Marshal(value)
	if err != nil { // a string always has a form
		return append(b, `""`...)
	}
	return append(b, quoted...)
}

// plain reports whether s needs no escapes in JSON.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
