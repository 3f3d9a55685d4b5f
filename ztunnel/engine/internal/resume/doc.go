// Package resume keeps TLS sessions, so that a connection to a peer that was connected to before costs
// neither end a signature and its check.
//
// A session proves that the peer made the session before, not who it is now. So what is kept belongs to
// one pod, to the certificate that the pod showed and to the roots by which it judged the peer; with
// another certificate, or other roots, all of it is gone (Pod.Keep, and each handshake by itself). That
// holds in both roles: a client's sessions are found by the identities that are accepted and by the
// address, a server's tickets are sealed by a key that is the set's own. Two pods share nothing, also if
// they have the same identity.
//
// Every check of a peer is made again when a session is resumed, by the Config's VerifyConnection and at
// the time that it is then. A session is used once, since each connection brings a new one, and not near
// the end of a certificate: a peer that has a new one by then is to show it. If a session is not accepted
// the handshake is a full one, and if the attempt fails, so is the next.
//
// Sessions are in memory only. What crypto/tls holds of them cannot be wiped from here: it goes with the
// garbage collector.
package resume
