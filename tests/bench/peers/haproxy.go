package peers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const haproxyHead = `global
 maxconn %d
 nbthread 1
 tune.ssl.cachesize 20000
defaults
 mode tcp
 timeout connect 5s
 timeout client 10m
 timeout server 10m
`

const tls13 = "ssl-min-ver TLSv1.3 ciphersuites TLS_AES_128_GCM_SHA256"

func writeHaproxy(t Tool, dir string, c *certs, fs []Forward) (near, far Half, err error) {
	var a, b strings.Builder
	for i, f := range fs {
		reuse := ""
		if f.Fresh {
			reuse = "no-ssl-reuse"
		}
		fmt.Fprintf(&a, "listen l%d\n bind %s backlog 16384\n server far %s ssl verify required ca-file %s crt %s verifyhost %s sni str(%s) %s %s\n",
			i, f.Near, f.Far, c.root, c.near.both, farName, farName, tls13, reuse)
		fmt.Fprintf(&b, "listen l%d\n bind %s backlog 16384 ssl crt %s ca-file %s verify required %s\n server to %s\n",
			i, f.Far, c.far.both, c.root, tls13, f.To)
	}
	if near, err = t.haproxyHalf(filepath.Join(dir, "haproxy-near.cfg"), a.String()); err == nil {
		far, err = t.haproxyHalf(filepath.Join(dir, "haproxy-far.cfg"), b.String())
	}
	return near, far, err
}

func (t Tool) haproxyHalf(path, listens string) (Half, error) {
	if err := os.WriteFile(path, []byte(fmt.Sprintf(haproxyHead, connections())+listens), 0o600); err != nil {
		return Half{}, fmt.Errorf("write haproxy's configuration: %w", err)
	}
	return Half{Args: []string{t.path, "-db", "-f", path}, Env: t.env}, nil
}
