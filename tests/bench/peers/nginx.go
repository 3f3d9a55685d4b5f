package peers

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

func writeNginx(t Tool, dir string, c *certs, fs []Forward) (near, far Half, err error) {
	var a, b strings.Builder
	for _, f := range fs {
		reuse, cache := "on", "ssl_session_cache shared:S:4m;"
		if f.Fresh {
			reuse, cache = "off", "ssl_session_cache off; ssl_session_tickets off;"
		}
		fmt.Fprintf(&a, `server { listen %s backlog=16384; proxy_pass %s; proxy_ssl on; proxy_ssl_protocols TLSv1.3;
 proxy_ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; proxy_ssl_certificate %s; proxy_ssl_certificate_key %s;
 proxy_ssl_trusted_certificate %s; proxy_ssl_verify on; proxy_ssl_name %s; proxy_ssl_session_reuse %s; }
`, f.Near, f.Far, c.near.cert, c.near.key, c.root, farName, reuse)
		fmt.Fprintf(&b, `server { listen %s ssl backlog=16384; proxy_pass %s; ssl_protocols TLSv1.3;
 ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; ssl_certificate %s; ssl_certificate_key %s;
 ssl_client_certificate %s; ssl_verify_client on; %s }
`, f.Far, f.To, c.far.cert, c.far.key, c.root, cache)
	}
	if near, err = t.nginxHalf(filepath.Join(dir, "nginx-near"), a.String()); err == nil {
		far, err = t.nginxHalf(filepath.Join(dir, "nginx-far"), b.String())
	}
	return near, far, err
}

func (t Tool) nginxHalf(dir, servers string) (Half, error) {
	load := ""
	if t.module != "" {
		load = "load_module " + t.module + ";\n"
	}
	text := load + `user root; worker_processes 1; daemon off; pid ` + dir + `/pid;
error_log ` + dir + `/error.log error;
events { worker_connections ` + strconv.Itoa(2*connections()) + `; }
stream { tcp_nodelay on; proxy_buffer_size 16k; proxy_timeout 10m;
` + servers + "}\n"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Half{}, fmt.Errorf("make nginx's directory: %w", err)
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return Half{}, fmt.Errorf("write nginx's configuration: %w", err)
	}
	return Half{Args: []string{t.path, "-c", conf, "-p", dir, "-e", filepath.Join(dir, "start.log")}, Env: t.env}, nil
}
