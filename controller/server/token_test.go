package server

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/ambitmesh/ambit/controller/auth"
	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
)

// reviews knows tokens by their first part.
type reviews map[string]auth.Review

func (r reviews) Review(_ context.Context, token string) (auth.Review, error) {
	for name, got := range r {
		if token == tokenOf(name) {
			got.Until = time.Now().Add(time.Hour)
			return got, nil
		}
	}
	return auth.Review{}, auth.ErrToken
}

func tokenOf(name string) string {
	return name + "." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, 1<<40)) + ".s"
}

func inCluster(c *Config) {
	proxy, web := auth.Account{Namespace: "ambit-system", Name: "ambit-ztunnel"}, auth.Account{Namespace: "shop", Name: "web"}
	c.Accounts = &auth.AccountsConfig{Proxies: []auth.Account{proxy}, Reviewer: reviews{
		"zt-n1":    {Account: proxy, Pod: "zt-1", PodUID: "1", Node: "n1"},
		"zt-free":  {Account: proxy},
		"web":      {Account: web, Pod: "web", PodUID: "2", Node: "n1"},
		"impostor": {Account: auth.Account{Namespace: "shop", Name: "ambit-ztunnel"}, Pod: "x", PodUID: "3", Node: "n1"},
	}}
}

func TestTokensGiveNoMoreThanTheyShould(t *testing.T) {
	c := startController(t, inCluster)
	c.put("web.yaml", podYAML("web", "n1", "10.0.0.1"))
	c.put("orders.yaml", podYAML("orders", "n1", "10.0.0.2"))
	c.put("far.yaml", podYAML("far", "n2", "10.0.0.3"))
	c.run()
	until(t, "ready", c.server.cache.Ready)
	const web, orders, far = "spiffe://cluster.local/ns/shop/sa/web", "spiffe://cluster.local/ns/shop/sa/orders", "spiffe://cluster.local/ns/shop/sa/far"
	for _, tc := range []struct {
		name, token, uri, impersonate string
		code                          codes.Code
	}{
		{"a proxy for its node's pod", "zt-n1", web, web, codes.OK},
		{"a proxy for itself", "zt-n1", "spiffe://cluster.local/ns/ambit-system/sa/ambit-ztunnel", "", codes.OK},
		{"a stolen proxy's token for the other node's pod", "zt-n1", far, far, codes.PermissionDenied},
		{"a proxy's token of no node", "zt-free", web, web, codes.PermissionDenied},
		{"a proxy for a node's name", "zt-n1", "spiffe://cluster.local/node/n1", "", codes.PermissionDenied},
		{"a proxy for the controller", "zt-n1", "spiffe://cluster.local/ns/ambit-system/sa/ambit-controller", "", codes.PermissionDenied},
		{"a pod for itself", "web", web, "", codes.OK},
		{"a pod for its neighbour", "web", orders, orders, codes.PermissionDenied},
		{"a pod for its neighbour, unnamed", "web", orders, "", codes.PermissionDenied},
		{"an account of the proxy's name elsewhere", "impostor", web, web, codes.PermissionDenied},
		{"nobody's token", "none", web, web, codes.Unauthenticated},
	} {
		got, err := c.ask(joinTLS(c), tokenOf(tc.token), tc.uri, tc.impersonate)
		if status.Code(err) != tc.code {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.code)
		}
		if err == nil && got.Leaf.URIs[0].String() != tc.uri {
			t.Errorf("%s: got %v", tc.name, got.Leaf.URIs)
		}
	}
}

func TestConfigurationIsForProxiesTokensOnly(t *testing.T) {
	c := startController(t, inCluster).run()
	for token, want := range map[string]codes.Code{"zt-n1": codes.OK, "zt-free": codes.Unauthenticated, "web": codes.Unauthenticated, "impostor": codes.Unauthenticated} {
		conn, err := grpc.NewClient(c.addr, grpc.WithTransportCredentials(joinTLS(c)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+tokenOf(token)), 20*time.Second)
		ads, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
		if err == nil {
			err = ads.Send(&discovery.DeltaDiscoveryRequest{Node: &discovery.Node{Id: "x"}, TypeUrl: "type.googleapis.com/istio.security.Authorization"})
		}
		if err == nil || errors.Is(err, io.EOF) { // refused before we sent: Recv knows why
			_, err = ads.Recv()
		}
		if status.Code(err) != want {
			t.Errorf("%s: %v, want %v", token, err, want)
		}
		cancel()
		conn.Close()
	}
}
