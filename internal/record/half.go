package record

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// nonceSize is that of every TLS 1.3 suite, in bytes.
const nonceSize = 12

// half is one direction's keys and sequence number.
type half struct {
	suite  suite
	secret secret
	aead   cipher.AEAD // nil: wiped
	iv     [nonceSize]byte
	nonce  [nonceSize]byte // scratch, here so that it is not allocated
	seq    uint64
}

var errSequence = errors.New("sequence number used up")

// start sets the keys that follow from s, which stays the caller's to wipe. It is
// passed by its address so that no copy is left on a stack.
func (h *half) start(su suite, s *secret) error {
	h.suite = su
	h.secret = *s
	return h.derive()
}

// derive sets the keys that follow from the half's secret (RFC 8446 section 7.3).
func (h *half) derive() error {
	h.seq = 0
	key, err := h.suite.expand(h.secret.bytes(), "key", h.suite.key)
	if err != nil {
		return fmt.Errorf("derive key: %w", err)
	}
	defer clear(key)
	iv, err := h.suite.expand(h.secret.bytes(), "iv", nonceSize)
	if err != nil {
		return fmt.Errorf("derive iv: %w", err)
	}
	copy(h.iv[:], iv)
	clear(iv)
	if h.aead, err = h.suite.aead(key); err != nil {
		return fmt.Errorf("make cipher: %w", err)
	}
	return nil
}

// update moves to the next secret and its keys (RFC 8446 section 7.2).
func (h *half) update() error {
	next, err := h.suite.expand(h.secret.bytes(), "traffic upd", h.suite.size)
	if err != nil {
		return fmt.Errorf("derive next secret: %w", err)
	}
	h.secret.wipe()
	h.secret.n = copy(h.secret.b[:], next)
	clear(next)
	return h.derive()
}

// next returns the nonce of the next record (RFC 8446 section 5.3): valid until
// the next call.
func (h *half) next() ([]byte, error) {
	if h.seq == math.MaxUint64 {
		return nil, errSequence
	}
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], h.seq)
	h.nonce = h.iv
	subtle.XORBytes(h.nonce[nonceSize-8:], h.nonce[nonceSize-8:], n[:])
	h.seq++
	return h.nonce[:], nil
}

// spent says that the key should be changed.
func (h *half) spent() bool { return h.seq >= h.suite.records }

func (h *half) wipe() {
	h.secret.wipe()
	h.aead = nil
	h.iv, h.nonce = [nonceSize]byte{}, [nonceSize]byte{}
}
