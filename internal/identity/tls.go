package identity

import (
	"crypto/tls"
	"crypto/x509"
	"time"
)

// ServerConfig is the accepting side of a tunnel that shows c: TLS 1.3, ALPN h2, a client certificate of
// trustDomain. All checks are made in VerifyConnection: a resumed session is checked like a new one. No
// session tickets are given; whoever lets it keeps their keys to c and to c's roots.
func ServerConfig(c *Cert, trustDomain string, now func() time.Time) *tls.Config {
	return (*Verified)(nil).ServerConfig(c, trustDomain, now)
}

// ServerConfig is the function of that name, with a memory of the chains that were verified.
func (v *Verified) ServerConfig(c *Cert, trustDomain string, now func() time.Time) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{"h2"},
		Time:                   now,
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
		Certificates:           []tls.Certificate{c.TLS},
		VerifyConnection: func(s tls.ConnectionState) error {
			return v.verify(s, c.Roots, now(), func(l *x509.Certificate) error { return checkDomain(l, trustDomain) })
		},
	}
}

// NodeServerConfig is the accepting side of the control plane: a client certificate is asked for and, if
// there is one, must chain to the roots; who the caller may be is the caller of this function's to judge.
func NodeServerConfig(get func() (*Cert, error), now func() time.Time) *tls.Config {
	base := func(c *Cert) *tls.Config {
		return &tls.Config{
			MinVersion:             tls.VersionTLS13,
			NextProtos:             []string{"h2"},
			ClientAuth:             tls.RequestClientCert,
			SessionTicketsDisabled: true,
			Certificates:           []tls.Certificate{c.TLS},
			VerifyConnection: func(s tls.ConnectionState) error {
				if len(s.PeerCertificates) == 0 {
					return nil
				}
				_, err := verifyChain(s.PeerCertificates, c.Roots, now())
				return err
			},
		}
	}
	return perConnection(get, base)
}

func perConnection(get func() (*Cert, error), base func(*Cert) *tls.Config) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c, err := get()
			if err != nil {
				return nil, err
			}
			return base(c), nil
		},
	}
}

// ClientConfig is the calling side of a tunnel: TLS 1.3, ALPN h2, no server name, and a peer whose only
// URI SAN is one of want. want is kept.
func ClientConfig(get func() (*Cert, error), want []string, now func() time.Time) *tls.Config {
	return (*Verified)(nil).ClientConfig(get, want, now)
}

// ClientConfig is the function of that name, with a memory of the chains that were verified.
func (v *Verified) ClientConfig(get func() (*Cert, error), want []string, now func() time.Time) *tls.Config {
	return v.clientConfig(get, nil, want, now)
}

// JoinConfig is a caller that has no certificate yet: it checks the peer against roots and want only.
func JoinConfig(roots *x509.CertPool, want []string, now func() time.Time) *tls.Config {
	return (*Verified)(nil).clientConfig(nil, roots, want, now)
}

func (v *Verified) clientConfig(get func() (*Cert, error), roots *x509.CertPool, want []string, now func() time.Time) *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2"},
		Time:       now,
		// The chain and the name are checked below: the standard check knows host names only.
		InsecureSkipVerify: true,
	}
	c.VerifyConnection = func(s tls.ConnectionState) error {
		trust := roots
		if get != nil {
			own, err := get()
			if err != nil {
				return err
			}
			trust = own.Roots
		}
		return v.verify(s, trust, now(), func(l *x509.Certificate) error { return checkWanted(l, want) })
	}
	if get != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			own, err := get()
			if err != nil {
				return nil, err
			}
			return &own.TLS, nil
		}
	}
	return c
}

func (v *Verified) verify(s tls.ConnectionState, roots *x509.CertPool, now time.Time, who func(*x509.Certificate) error) error {
	if err := v.check(s.PeerCertificates, roots, now); err != nil {
		return err
	}
	return who(s.PeerCertificates[0])
}
