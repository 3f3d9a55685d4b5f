// Package join keeps the tokens by which machines join the mesh: single use, short-lived, stored as
// hashes in a file that a running controller and the command line share.
package join

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ambitmesh/ambit/controller/state"
	"github.com/ambitmesh/ambit/internal/identity"
)

// Why a token is refused; compare with errors.Is.
var (
	ErrUnknown = errors.New("unknown join token, or used already")
	ErrExpired = errors.New("join token has expired")
	ErrNode    = errors.New("join token is for another node")
)

const (
	prefix    = "ambit"
	maxTokens = 10_000
	maxFile   = 8 << 20 // bytes
)

// Store is the file of tokens in a state directory. Safe for concurrent use, by several processes.
type Store struct {
	dir string
	now func() time.Time
}

// record is what is kept of a token: not the token.
type record struct {
	ID      string    `json:"id"`
	Node    string    `json:"node"`
	Hash    string    `json:"hash"` // SHA-256 of the secret, hex
	Expires time.Time `json:"expires"`
}

// Open returns the store in dir, which must exist. now nil: time.Now.
func Open(dir string, now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	return &Store{dir: dir, now: now}
}

// Create makes a token with which one machine can join as node, once, within ttl.
func (s *Store) Create(node string, ttl time.Duration) (token string, err error) {
	if _, name, err := identity.ParseNodeURI(identity.NodeURI("x", node)); err != nil || name != node {
		return "", fmt.Errorf("create token: %q is not a node's name", node)
	}
	if ttl <= 0 {
		return "", fmt.Errorf("create token for %s: life %s is not positive", node, ttl)
	}
	id, secret := make([]byte, 8), make([]byte, 32)
	rand.Read(id)
	rand.Read(secret)
	r := record{ID: hex.EncodeToString(id), Node: node, Hash: hash(hex.EncodeToString(secret)), Expires: s.now().Add(ttl).UTC()}
	err = s.update(func(all []record) ([]record, error) {
		if len(all) >= maxTokens {
			return nil, fmt.Errorf("there are %d tokens already", len(all))
		}
		return append(all, r), nil
	})
	if err != nil {
		return "", fmt.Errorf("create token for %s: %w", node, err)
	}
	return strings.Join([]string{prefix, r.ID, hex.EncodeToString(secret)}, "-"), nil
}

// Check reports why the token does not admit the node; nil if it does. It stays valid.
func (s *Store) Check(token, node string) error {
	all, err := s.read()
	if err != nil {
		return fmt.Errorf("check join token: %w", err)
	}
	_, err = s.find(all, token, node)
	return err
}

// Use is Check, and takes the token out: of several callers at once one succeeds.
func (s *Store) Use(token, node string) error {
	return s.update(func(all []record) ([]record, error) {
		i, err := s.find(all, token, node)
		if err != nil {
			return nil, err
		}
		return append(all[:i], all[i+1:]...), nil
	})
}

// Len returns how many tokens can still be used.
func (s *Store) Len() (n int, err error) {
	all, err := s.read()
	for _, r := range all {
		if s.now().Before(r.Expires) {
			n++
		}
	}
	return n, err
}

// find compares secrets in constant time; the id is no secret.
func (s *Store) find(all []record, token, node string) (int, error) {
	id, secret, ok := split(token)
	if !ok {
		return 0, ErrUnknown
	}
	for i, r := range all {
		if r.ID != id || subtle.ConstantTimeCompare([]byte(r.Hash), []byte(hash(secret))) != 1 {
			continue
		}
		switch {
		case !s.now().Before(r.Expires):
			return 0, ErrExpired
		case r.Node != node:
			return 0, fmt.Errorf("%s, not %s: %w", r.Node, node, ErrNode)
		}
		return i, nil
	}
	return 0, ErrUnknown
}

func split(token string) (id, secret string, ok bool) {
	p := strings.Split(token, "-")
	if len(token) > 256 || len(p) != 3 || p[0] != prefix || len(p[1]) != 16 || len(p[2]) != 64 {
		return "", "", false
	}
	return p[1], p[2], true
}

func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func (s *Store) path() string { return filepath.Join(s.dir, "tokens.json") }

func (s *Store) read() ([]record, error) {
	f, err := os.Open(s.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, err
	}
	var all []record
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path(), err)
	}
	return all, nil
}

// update changes the file under a lock that other processes take too. Expired tokens go with it.
func (s *Store) update(change func([]record) ([]record, error)) error {
	release, err := state.Lock(s.dir, "tokens.lock", true)
	if err != nil {
		return err
	}
	defer release() //nolint:errcheck // closes a file that was not written
	all, err := s.read()
	if err != nil {
		return err
	}
	if all, err = change(all); err != nil {
		return err
	}
	kept := []record{}
	for _, r := range all {
		if s.now().Before(r.Expires) {
			kept = append(kept, r)
		}
	}
	b, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	return state.WriteFile(s.path(), b, 0o600)
}
