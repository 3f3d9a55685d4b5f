package server

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/ambitmesh/ambit/internal/telemetry"
)

// flushTime is how long the last lines may take.
const flushTime = 2 * time.Second

// accessLog is where lines of connections go.
type accessLog struct {
	lines *telemetry.AccessLog // nil: nowhere
	queue *telemetry.Writer
	file  *os.File // nil: not ours
}

func openAccessLog(where string, log *slog.Logger) (*accessLog, error) {
	a := &accessLog{}
	var out io.Writer = os.Stdout
	switch where {
	case "", "off":
		return a, nil
	case "-":
	default:
		f, err := os.OpenFile(where, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
		if err != nil {
			return nil, fmt.Errorf("--access-log: %w", err)
		}
		a.file, out = f, f
	}
	a.queue = telemetry.NewWriter(out, 0, log)
	a.lines = telemetry.NewAccessLog(a.queue, nil)
	return a, nil
}

func (a *accessLog) dropped() uint64 {
	if a.queue == nil {
		return 0
	}
	return a.queue.Dropped()
}

// Close writes what is queued.
func (a *accessLog) Close() error {
	if a.queue != nil {
		a.queue.Close(flushTime)
	}
	if a.file == nil {
		return nil
	}
	return a.file.Close()
}
