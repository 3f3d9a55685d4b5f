package auth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// maxToken bounds a token, in bytes; those of Kubernetes have about a thousand.
const maxToken = 16 << 10

// isJWT tells a token of Kubernetes from a join token.
func isJWT(token string) bool {
	return len(token) <= maxToken && strings.Count(token, ".") == 2
}

// endOf reads when a token ends. Nothing is checked here: the API server does, and a forged end is
// worth nothing without its word.
func endOf(token string) (time.Time, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, errors.New("read token: not three parts")
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, fmt.Errorf("read token: %w", err)
	}
	var claims struct {
		Exp int64 `json:"exp"`
	}
	if err := json.Unmarshal(body, &claims); err != nil {
		return time.Time{}, fmt.Errorf("read token: %w", err)
	}
	if claims.Exp <= 0 {
		return time.Time{}, errors.New("read token: it never ends")
	}
	return time.Unix(claims.Exp, 0), nil
}
