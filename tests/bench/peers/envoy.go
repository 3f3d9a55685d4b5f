package peers

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

type dict = map[string]any

const (
	tlsPackage = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
	tcpProxy   = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
)

// writeEnvoy makes a pair of TCP proxies with a TLS connection for each TCP connection. (HBONE would pool
// them: this is Envoy as a sidecar, not as a waypoint.)
func writeEnvoy(t Tool, dir string, c *certs, fs []Forward) (near, far Half, err error) {
	var a, b envoyConfig
	for i, f := range fs {
		name := fmt.Sprintf("f%d", i)
		a.add(name, f.Near.Addr().String(), int(f.Near.Port()), nil, f.Far.Addr().String(), int(f.Far.Port()),
			socket("UpstreamTlsContext", dict{"sni": farName, "common_tls_context": common(c.near, c.root, farName), "max_session_keys": sessions(f.Fresh)}))
		down := dict{"require_client_certificate": true, "common_tls_context": common(c.far, c.root, nearName)}
		if f.Fresh {
			down["disable_stateless_session_resumption"] = true
		}
		b.add(name, f.Far.Addr().String(), int(f.Far.Port()), socket("DownstreamTlsContext", down), f.To.Addr().String(), int(f.To.Port()), nil)
	}
	if near, err = t.envoyHalf(filepath.Join(dir, "envoy-near.json"), &a, 1); err == nil {
		far, err = t.envoyHalf(filepath.Join(dir, "envoy-far.json"), &b, 2)
	}
	return near, far, err
}

func sessions(fresh bool) int {
	if fresh {
		return 0
	}
	return 1
}

func socket(kind string, context dict) dict {
	context["@type"] = tlsPackage + kind
	return dict{"name": "envoy.transport_sockets.tls", "typed_config": context}
}

func common(own leaf, root, peer string) dict {
	return dict{
		"tls_params":       dict{"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3", "ecdh_curves": []string{"X25519"}},
		"tls_certificates": []dict{{"certificate_chain": dict{"filename": own.cert}, "private_key": dict{"filename": own.key}}},
		"validation_context": dict{"trusted_ca": dict{"filename": root},
			"match_typed_subject_alt_names": []dict{{"san_type": "DNS", "matcher": dict{"exact": peer}}}},
	}
}

type envoyConfig struct{ listeners, clusters []dict }

func address(host string, port int) dict {
	return dict{"socket_address": dict{"address": host, "port_value": port}}
}

func (e *envoyConfig) add(name, host string, port int, in dict, toHost string, toPort int, out dict) {
	chain := dict{"filters": []dict{{"name": "envoy.filters.network.tcp_proxy",
		"typed_config": dict{"@type": tcpProxy, "stat_prefix": name, "cluster": name}}}}
	if in != nil {
		chain["transport_socket"] = in
	}
	e.listeners = append(e.listeners, dict{"name": name, "address": address(host, port), "tcp_backlog_size": 16384, "filter_chains": []dict{chain}})
	limits := dict{}
	for _, k := range []string{"max_connections", "max_pending_requests", "max_requests"} {
		limits[k] = 100000
	}
	cluster := dict{"name": name, "type": "STATIC", "connect_timeout": "5s", "circuit_breakers": dict{"thresholds": []dict{limits}},
		"load_assignment": dict{"cluster_name": name, "endpoints": []dict{{"lb_endpoints": []dict{{"endpoint": dict{"address": address(toHost, toPort)}}}}}}}
	if out != nil {
		cluster["transport_socket"] = out
	}
	e.clusters = append(e.clusters, cluster)
}

func (t Tool) envoyHalf(path string, e *envoyConfig, id int) (Half, error) {
	b, err := json.Marshal(dict{"static_resources": dict{"listeners": e.listeners, "clusters": e.clusters}})
	if err != nil {
		return Half{}, fmt.Errorf("encode Envoy's configuration: %w", err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return Half{}, fmt.Errorf("write Envoy's configuration: %w", err)
	}
	return Half{Args: []string{t.path, "-c", path, "--concurrency", "1", "--base-id", fmt.Sprint(id), "--disable-hot-restart", "-l", "warning"}, Env: t.env}, nil
}
