package record

import (
	"fmt"
	"io"
	"log/slog"
)

// hidden is embedded by what holds keys, so that no fmt verb and no log handler
// prints them.
type hidden struct{}

const hiddenText = "record(hidden)"

// Format writes a constant, for every verb.
func (hidden) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hiddenText) }

// LogValue is a constant.
func (hidden) LogValue() slog.Value { return slog.StringValue(hiddenText) }

// MarshalText is a constant, also for JSON.
func (hidden) MarshalText() ([]byte, error) { return []byte(hiddenText), nil }
