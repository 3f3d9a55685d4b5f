package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"
)

// authority is a key and its certificate; each lives as long as it is told.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

var start = time.Now().Truncate(time.Second) // certificates know whole seconds

// issue signs a certificate for a new key, or for one that there is; by nil: by itself.
func issue(t testing.TB, by *authority, name string, isCA bool, until time.Duration, key *ecdsa.PrivateKey) *authority {
	t.Helper()
	var err error
	if key == nil {
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, IsCA: isCA, BasicConstraintsValid: true,
		NotBefore: start.Add(-time.Hour), NotAfter: start.Add(until)}
	if isCA {
		tmpl.KeyUsage = x509.KeyUsageCertSign
	}
	if by == nil {
		by = &authority{key, tmpl}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, by.cert, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key, c}
}

func pool(a ...*authority) *x509.CertPool { return Pool(chain(a...)) }

func chain(a ...*authority) (out []*x509.Certificate) {
	for _, x := range a {
		out = append(out, x.cert)
	}
	return out
}

// What was verified a moment ago says nothing for other roots, other certificates, or another time.
func TestVerified(t *testing.T) {
	root := issue(t, nil, "root", true, 24*time.Hour, nil)
	other := issue(t, nil, "root", true, 24*time.Hour, nil)
	between := issue(t, root, "between", true, time.Hour, nil)
	again := issue(t, root, "between", true, 3*time.Hour, between.key) // renewed, of the same key
	forged := issue(t, other, "between", true, 3*time.Hour, nil)
	leaf := issue(t, between, "", false, 2*time.Hour, nil)
	roots := pool(root)
	type asked struct {
		chain []*x509.Certificate
		roots *x509.CertPool
		at    time.Duration
	}
	for name, c := range map[string]struct {
		ask     asked
		want    error
		learned bool // one more is remembered
	}{
		"the same":                  {asked{chain(leaf, between), roots, 0}, nil, false},
		"equal roots":               {asked{chain(leaf, between), pool(root), 0}, nil, true},
		"other roots":               {asked{chain(leaf, between), pool(other), 0}, ErrUntrusted, false},
		"no roots":                  {asked{chain(leaf, between), pool(), 0}, ErrUntrusted, false},
		"leaf alone":                {asked{chain(leaf), roots, 0}, ErrUntrusted, false},
		"forged intermediate":       {asked{chain(leaf, forged), roots, 0}, ErrUntrusted, false},
		"renewed intermediate":      {asked{chain(leaf, again), roots, 0}, nil, true},
		"leaf of another authority": {asked{chain(issue(t, forged, "", false, time.Hour, leaf.key), between), roots, 0}, ErrUntrusted, false},
		"intermediate as the leaf":  {asked{chain(between), roots, 0}, nil, true},
		"intermediate ended":        {asked{chain(leaf, between), roots, time.Hour + time.Second}, ErrUntrusted, false},
		"leaf ended":                {asked{chain(leaf, between), roots, 2*time.Hour + time.Second}, ErrExpired, false},
		"not begun":                 {asked{chain(leaf, between), roots, -2 * time.Hour}, ErrExpired, false},
		"last moment":               {asked{chain(leaf, between), roots, time.Hour}, nil, false},
		"nobody":                    {asked{nil, roots, 0}, ErrUntrusted, false},
	} {
		t.Run(name, func(t *testing.T) {
			var v Verified
			for range 2 {
				if err := v.check(chain(leaf, between), roots, start); err != nil || len(v.known) != 1 {
					t.Fatalf("%v, %d are remembered", err, len(v.known))
				}
			}
			for range 2 {
				err := v.check(c.ask.chain, c.ask.roots, start.Add(c.ask.at))
				if !errors.Is(err, c.want) || c.want == nil && err != nil {
					t.Errorf("got %v, want %v", err, c.want)
				}
			}
			if learned := len(v.known) == 2; learned != c.learned {
				t.Errorf("%d are remembered", len(v.known))
			}
		})
	}
}

// A root's own end counts, too.
func TestVerifiedUntilRootEnds(t *testing.T) {
	root := issue(t, nil, "root", true, time.Hour, nil)
	leaf := issue(t, root, "", false, 2*time.Hour, nil)
	roots := pool(root)
	var v Verified
	if err := v.check(chain(leaf), roots, start); err != nil {
		t.Fatal(err)
	}
	if err := v.check(chain(leaf), roots, start.Add(90*time.Minute)); !errors.Is(err, ErrUntrusted) {
		t.Errorf("got %v", err)
	}
}

// What is remembered is bounded, and goes with its roots and with its end.
func TestVerifiedForgets(t *testing.T) {
	root := issue(t, nil, "root", true, 24*time.Hour, nil)
	short, long := issue(t, root, "", false, time.Hour, nil), issue(t, root, "", false, 2*time.Hour, nil)
	mine, theirs := pool(root), pool(root)
	var v Verified
	for range 2 * mostVerified {
		if err := v.check(chain(short), pool(root), start); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(v.known); n != mostVerified {
		t.Errorf("%d are remembered", n)
	}
	for _, c := range []*authority{short, long} {
		for _, roots := range []*x509.CertPool{mine, theirs} {
			if err := v.check(chain(c), roots, start); err != nil {
				t.Fatal(err)
			}
		}
	}
	v.Keep([]*x509.CertPool{mine})
	if len(v.known) != 2 {
		t.Errorf("%d are remembered of one pool", len(v.known))
	}
	at := start.Add(90 * time.Minute)
	if !v.knows(chainKey{mine, sumOf(chain(long))}, at) {
		t.Error("it is forgotten")
	}
	v.Expire(at)
	if len(v.known) != 1 {
		t.Errorf("%d are remembered that have not ended", len(v.known))
	}
	v.Expire(at.Add(keepVerified + time.Second))
	if len(v.known) != 0 {
		t.Errorf("%d are remembered that nobody shows", len(v.known))
	}
	var none *Verified
	if err := none.check(chain(long), mine, start); err != nil {
		t.Error(err)
	}
}

// A peer that shows a heap of certificates with its own is served, and not remembered.
func TestVerifiedIsSmall(t *testing.T) {
	root := issue(t, nil, "root", true, time.Hour, nil)
	leaf := issue(t, root, "", false, time.Hour, nil)
	long := chain(leaf)
	for sizeOf(long) <= longestChain {
		long = append(long, root.cert)
	}
	var v Verified
	if err := v.check(long, pool(root), start); err != nil {
		t.Fatal(err)
	}
	if len(v.known) != 0 {
		t.Error("it is remembered")
	}
}

// Certificates that are cut differently are others.
func TestSumOf(t *testing.T) {
	raw := func(parts ...string) (out []*x509.Certificate) {
		for _, p := range parts {
			out = append(out, &x509.Certificate{Raw: []byte(p)})
		}
		return out
	}
	sums := map[[32]byte]bool{}
	for _, c := range [][]*x509.Certificate{raw("ab", "c"), raw("a", "bc"), raw("abc"), raw("abc", ""), raw("c", "ab"), raw()} {
		sums[sumOf(c)] = true
	}
	if len(sums) != 6 {
		t.Errorf("%d sums", len(sums))
	}
}

func BenchmarkVerified(b *testing.B) {
	root := issue(b, nil, "root", true, time.Hour, nil)
	leaf, roots := chain(issue(b, root, "", false, time.Hour, nil)), pool(root)
	for name, v := range map[string]*Verified{"anew": nil, "again": {}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := v.check(leaf, roots, start); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
