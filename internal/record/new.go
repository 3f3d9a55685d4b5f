package record

import (
	"crypto/fips140"
	"crypto/tls"
	"errors"
	"fmt"
)

// ErrFIPS is returned in FIPS 140-3 mode, where records are sealed by crypto/tls
// or not at all.
var ErrFIPS = errors.New("FIPS 140-3 mode: own record layer is not used")

// New makes both directions of a connection whose handshake is done. client says
// our role. It wipes s, also when it fails: another version than TLS 1.3, an
// unknown suite, secrets that are missing or of two handshakes, FIPS mode.
//
// Both sequence numbers start at 0. A server of crypto/tls that sends session
// tickets has used some by then: use Take there.
func New(s *Secrets, state tls.ConnectionState, client bool) (*Reader, *Writer, error) {
	defer s.Wipe()
	if fips140.Enabled() {
		return nil, nil, ErrFIPS
	}
	if !state.HandshakeComplete || state.Version != tls.VersionTLS13 {
		return nil, nil, fmt.Errorf("take over %s: want a finished TLS 1.3 handshake", tls.VersionName(state.Version))
	}
	su, err := suiteByID(state.CipherSuite)
	if err != nil {
		return nil, nil, fmt.Errorf("take over TLS 1.3: %w", err)
	}
	if err := s.check(su.size); err != nil {
		return nil, nil, fmt.Errorf("take over TLS 1.3: %w", err)
	}
	in, out := &s.client, &s.server
	if client {
		in, out = out, in
	}
	w := &Writer{}
	r := &Reader{w: w, client: client, updates: updateBurst}
	err = errors.Join(w.start(su, out), r.start(su, in))
	if err != nil {
		r.Wipe()
		w.Wipe()
		return nil, nil, fmt.Errorf("take over TLS 1.3: %w", err)
	}
	return r, w, nil
}
