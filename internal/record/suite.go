package record

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// Records under one key, before the key is changed.
const (
	// RFC 8446 section 5.5 allows 2^24.5 full records under AES-GCM; this is
	// less than half of that.
	gcmRecords = 1 << 23
	// ChaCha20-Poly1305 has no limit but the sequence number's 64 bits.
	chachaRecords = 1 << 48
)

// suite is what a TLS 1.3 cipher suite (RFC 8446 appendix B.4) means to records.
type suite struct {
	id      uint16
	key     int // bytes
	size    int // of the hash, in bytes
	hash    func() hash.Hash
	aead    func(key []byte) (cipher.AEAD, error)
	records uint64
}

func suiteByID(id uint16) (suite, error) {
	switch id {
	case tls.TLS_AES_128_GCM_SHA256:
		return suite{id, 16, sha256.Size, sha256.New, newGCM, gcmRecords}, nil
	case tls.TLS_AES_256_GCM_SHA384:
		return suite{id, 32, sha512.Size384, sha512.New384, newGCM, gcmRecords}, nil
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		return suite{id, chacha20poly1305.KeySize, sha256.Size, sha256.New, chacha20poly1305.New, chachaRecords}, nil
	}
	return suite{}, fmt.Errorf("unknown cipher suite %#04x", id)
}

func newGCM(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

// expand is HKDF-Expand-Label of RFC 8446 section 7.1 with an empty context.
func (s *suite) expand(secret []byte, label string, n int) ([]byte, error) {
	const prefix = "tls13 "
	info := []byte{byte(n >> 8), byte(n), byte(len(prefix) + len(label))}
	info = append(info, prefix...)
	info = append(info, label...)
	info = append(info, 0)
	return hkdf.Expand(s.hash, secret, string(info), n)
}
