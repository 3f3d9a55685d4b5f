package ca

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
)

// Step is how far a rotation is.
type Step string

// The steps.
const (
	Steady    Step = "steady"    // one root
	Prepared  Step = "prepared"  // the new root is trusted, the old one signs
	Activated Step = "activated" // the new root signs, the old one is trusted
)

// saved is the file. One file, so that a step is taken as a whole.
type saved struct {
	Step        Step          `json:"step"`
	Stepped     time.Time     `json:"stepped"`
	LongestLife time.Duration `json:"longestLifeNanoseconds"` // of leaves, since the last finish
	Roots       []savedRoot   `json:"roots"`                  // the old one first
	Cross       string        `json:"cross,omitempty"`        // the new root, certified by the old one
}

type savedRoot struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// ErrCorrupt is wrapped where the store holds something that is not a CA's state.
var ErrCorrupt = errors.New("the CA's state cannot be used; restore it from a copy, or remove it to begin with a new root")

// load reads our own state; nil if there is none.
func load(files map[string][]byte) (*saved, error) {
	b, ok := files[StateFile]
	if !ok {
		return nil, nil
	}
	var s saved
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("read %s: %w: %w", StateFile, ErrCorrupt, err)
	}
	if _, err := s.issuer(); err != nil {
		return nil, fmt.Errorf("read %s: %w: %w", StateFile, ErrCorrupt, err)
	}
	return &s, nil
}

func (s *saved) encode() ([]byte, error) {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode CA: %w", err)
	}
	return b, nil
}

func (s *saved) add(r root) error {
	key, err := encodeKey(r.key)
	if err != nil {
		return err
	}
	s.Roots = append(s.Roots, savedRoot{Cert: identity.EncodeCerts(list(r.cert)), Key: key})
	return nil
}

// issuer decodes and checks the file.
func (s *saved) issuer() (*issuer, error) {
	want := map[Step]int{Steady: 1, Prepared: 2, Activated: 2}[s.Step]
	if want == 0 || len(s.Roots) != want {
		return nil, fmt.Errorf("step %q with %d roots", s.Step, len(s.Roots))
	}
	i := &issuer{step: s.Step}
	for n, r := range s.Roots {
		got, err := decodeRoot(r.Cert, r.Key)
		if err != nil {
			return nil, fmt.Errorf("root %d: %w", n, err)
		}
		i.roots = append(i.roots, got.cert)
		if n == 0 || s.Step == Activated {
			i.signer = got
		}
	}
	if s.Step == Activated {
		cross, err := identity.ParseCerts([]byte(s.Cross))
		if err != nil {
			return nil, fmt.Errorf("cross certificate: %w", err)
		}
		i.between = cross
	}
	return i, nil
}
