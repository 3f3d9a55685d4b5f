package netns

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
)

// TestShortCertificates runs traffic over several lives of certificates, then over a rotation of the root.
func TestShortCertificates(t *testing.T) {
	const life = 10 * time.Second
	s := newShop(t, lab.Options{LeafLife: life})
	t.Run("life of 10 s under traffic", func(t *testing.T) {
		x := s.traffic(t)
		before := s.notAfter(t)
		time.Sleep(long(6*life, 5*life/2))
		if after := s.notAfter(t); after.Sub(before) < life {
			t.Errorf("the client's certificate ended at %s, now at %s", before, after)
		}
		x.nothingFailed(t)
	})
	t.Run("root rotation under traffic", func(t *testing.T) {
		x := s.traffic(t)
		for _, step := range []string{"prepare", "activate"} {
			s.rotate(t, step)
			time.Sleep(life)
		}
		eventually(t, func() error { return s.tryRotate("finish") }) // refused while old leaves live
		time.Sleep(life / 2)
		x.nothingFailed(t)
		s.works(t)
		must(t, s.Controller().Kill())
		must(t, s.StartController(ctx(t)))
		s.works(t)
	})
}

// TestExpiry keeps the controller away until every certificate has ended: no tunnel is opened then. The
// nodes join again by new tokens. (Between pods of one node no certificate is shown to anybody.)
func TestExpiry(t *testing.T) {
	const life = 20 * time.Second
	s := newShop(t, lab.Options{LeafLife: life})
	must(t, s.Controller().Kill())
	time.Sleep(life / 10) // half of a life is left at least when the controller goes
	s.works(t)
	held := hold(t, s.client, s.near, s.far) // may live on: they were judged when they began
	time.Sleep(life)
	both(t, func(t *testing.T, v6 bool) { must(t, refused(ctx(t), program(t, s.client), s.far.At(v6, portBanner))) })
	for _, n := range []string{"node-a", "node-b"} {
		_, err := s.Node(n).RenewToken(ctx(t))
		must(t, err)
	}
	must(t, s.StartController(ctx(t)))
	s.works(t)
	closeAll(t, held)
}

func (s *shop) rotate(t *testing.T, step string) {
	t.Helper()
	must(t, s.tryRotate(step))
}

func (s *shop) tryRotate(step string) error {
	_, err := s.ControllerHost().Run(ctx(s.t), filepath.Join(binaries, "ambit-controller"), "root", "rotate",
		"--state-dir", s.ControllerDir(), "--step", step)
	return err
}

// notAfter is the end of the client's certificate.
func (s *shop) notAfter(t *testing.T) time.Time {
	t.Helper()
	b, err := s.Node("node-a").GetZtunnel(ctx(t), "/config_dump")
	must(t, err)
	var dump struct {
		Certificates []struct {
			Identity  string
			CertChain []struct{ ExpirationTime time.Time }
		}
	}
	must(t, json.Unmarshal(b, &dump))
	for _, c := range dump.Certificates {
		if c.Identity == s.client.Identity() && len(c.CertChain) > 0 {
			return c.CertChain[0].ExpirationTime
		}
	}
	must(t, fmt.Errorf("no certificate of %s in %+v", s.client.Identity(), dump.Certificates))
	return time.Time{}
}
