package server

import (
	"net/http"
	"testing"
)

func TestPagesAreForTheLoopbackAndReading(t *testing.T) {
	c := startController(t, func(c *Config) { c.AdminAddr = "127.0.0.1:0" }).run()
	base := "http://" + c.server.pages.Addr().String()
	for _, tc := range []struct {
		method, path, host string
		code               int
	}{
		{http.MethodGet, "/status", "", http.StatusOK},
		{http.MethodGet, "/status", "localhost:15000", http.StatusOK},
		{http.MethodGet, "/status", "[::1]:15000", http.StatusOK},
		{http.MethodGet, "/status", "evil.example", http.StatusForbidden},
		{http.MethodGet, "/status", "10.0.0.1:15000", http.StatusForbidden},
		{http.MethodPost, "/root/rotate?step=prepare", "", http.StatusNotFound},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, base+tc.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tc.host != "" {
			req.Host = tc.host
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tc.code {
			t.Errorf("%s %s of %q: %d, want %d", tc.method, tc.path, tc.host, resp.StatusCode, tc.code)
		}
	}
	if n := len(c.server.ca.Roots()); n != 1 {
		t.Errorf("%d roots after a rotation that was refused", n)
	}
}
