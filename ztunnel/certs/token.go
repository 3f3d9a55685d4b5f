package certs

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
)

// token reads the file, which may be replaced at any time.
func (n *Node) token() (string, error) {
	if n.TokenFile == "" {
		return "", fmt.Errorf("%w: no --join-token-file", ErrNoToken)
	}
	return readToken(n.TokenFile)
}

// maxToken bounds a token, in bytes; those of Kubernetes have about a thousand.
const maxToken = 16 << 10

func readToken(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoToken, err)
	}
	t := strings.TrimSpace(string(b))
	if t == "" || len(t) > maxToken || strings.ContainsAny(t, "\r\n") {
		return "", fmt.Errorf("%w: %s does not hold one line of text", ErrNoToken, file)
	}
	return t, nil
}

func (n *Node) tokenSum() [sha256.Size]byte {
	t, err := n.token()
	if err != nil {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256([]byte(t))
}

// spent reports whether there is no token that has not been tried.
func (n *Node) spent() bool {
	now := n.tokenSum()
	n.mu.Lock()
	defer n.mu.Unlock()
	return now == n.tried || now == [sha256.Size]byte{}
}
