package record

import (
	"crypto/tls"
	"fmt"
)

// Alert codes of RFC 8446 section 6 that this package sends or knows.
const (
	AlertCloseNotify       = 0
	AlertUnexpectedMessage = 10
	AlertBadRecordMAC      = 20
	AlertRecordOverflow    = 22
	AlertIllegalParameter  = 47
	AlertDecodeError       = 50
	AlertInternalError     = 80
	AlertUserCanceled      = 90
)

const (
	levelWarning = 1
	levelFatal   = 2
)

// AlertError is an alert that the peer sent: it has ended the connection.
type AlertError struct {
	Code uint8
}

func (e *AlertError) Error() string { return "peer's alert: " + tls.AlertError(e.Code).Error() }

// Unwrap makes it a tls.AlertError to errors.As, as after a handshake.
func (e *AlertError) Unwrap() error { return tls.AlertError(e.Code) }

// RecordError is the peer's breach of the protocol. Alert is the code that the
// owner sends with Writer.Alert before it closes.
type RecordError struct {
	Alert  uint8
	Reason string
}

func (e *RecordError) Error() string { return "bad record: " + e.Reason }

func breach(alert uint8, format string, args ...any) error {
	return &RecordError{Alert: alert, Reason: fmt.Sprintf(format, args...)}
}

// CloseNotify seals the open record and ends our direction (RFC 8446 section
// 6.1). What is written after it is dropped. A second call does nothing.
func (w *Writer) CloseNotify() { w.Alert(AlertCloseNotify) }

// Alert seals the open record and an alert, which ends our direction. The keys
// are wiped; Pending still has to be sent.
func (w *Writer) Alert(code uint8) {
	if w.fill > 0 {
		w.closeRecord()
	}
	if w.closed {
		return
	}
	level := byte(levelFatal)
	if code == AlertCloseNotify || code == AlertUserCanceled {
		level = levelWarning
	}
	w.ensure(overhead + 2)
	copy(w.buf[w.sealed+header:], []byte{level, code})
	w.seal(typeAlert, 2)
	w.closed = true
	w.half.wipe()
}
