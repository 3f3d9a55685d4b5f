// Package record is the TLS 1.3 record layer that takes a connection over from
// crypto/tls once the handshake is done, so that an event loop can seal and
// open in place, with many frames in a record and many records in a system
// call. It does no I/O, starts no goroutine and takes no lock: a Reader and its
// Writer have one owner.
//
// A connection goes through four steps:
//
//	cfg := base.Clone()
//	secrets := &record.Secrets{}
//	cfg.KeyLogWriter = secrets              // this connection's own
//	conn := tls.Server(record.NewBoundary(c), cfg)
//	err := conn.HandshakeContext(ctx)       // by crypto/tls, with all its checks
//	r, w, err := record.Take(conn, secrets, false)
//
// From then on the bytes on c are the Reader's and the Writer's. Take learns
// from conn which number its next record would have, so a server that sent
// session tickets in its handshake agrees with its client. New does the same
// without a tls.Conn, and is right only where tls.Config.SessionTicketsDisabled
// is set on the server's side.
//
// # Keys
//
// Secrets holds the application traffic secrets of RFC 8446 section 7.1, which
// crypto/tls shows through Config.KeyLogWriter and nowhere else. It keeps them
// in memory only, for as long as the handshake runs, and zeroes the lines that
// they came in; New and Take wipe it, also when they fail.
// Reader and Writer keep the current secret of their direction, for the next
// key update, and wipe it when the direction ends or Wipe is called. What
// crypto/tls and the AEADs keep in their own memory cannot be wiped from here:
// it goes with the garbage collector. Nothing in this package prints a key, also
// not through fmt or slog.
//
// # What is checked
//
// Ciphertext is at most 2^14+256 bytes and its plaintext with type and padding
// at most 2^14+1 (RFC 8446 sections 5.2 and 5.4); records that bring no text are
// limited in a row, key updates by the records between them; handshake messages after the handshake are key updates and,
// at a client, session tickets, whole or in pieces, but not mixed with other
// records and not across a change of keys (section 5.1). Sequence numbers do not
// wrap, and keys are changed well before the limits of section 5.5.
//
// FIPS 140-3 mode is refused: its module is crypto/tls's as a whole.
package record
