package kube

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/tests/kube/cluster"
)

const crds = "../../manifests/crds.yaml"

// TestDefinitionsOfOthers applies crds.yaml where a definition is newer, and where Istio's own is there:
// both stay, and kubectl says so.
func TestDefinitionsOfOthers(t *testing.T) {
	const (
		routes = "httproutes.gateway.networking.k8s.io"
		peers  = "peerauthentications.security.istio.io"
		bundle = "gateway.networking.k8s.io/bundle-version"
		source = "ambit.dev/crd-source"
	)
	t.Cleanup(func() {
		ctx := context.Background()
		if _, err := c.Kubectl(ctx, "delete", "validatingadmissionpolicybinding", "ambit-keep-crds"); err != nil {
			t.Error(err)
		}
		err := cluster.Await(ctx, 20*time.Second, "end of the fence", func() error {
			_, err := c.Kubectl(ctx, "annotate", "--overwrite", "crd", peers, source+"=restored")
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if _, err := c.Kubectl(ctx, "apply", "--server-side", "--force-conflicts", "-f", crds); err != nil {
			t.Error(err)
		}
		if err := ours.apply(ctx); err != nil {
			t.Error(err)
		}
	})
	kubectl(t, "annotate", "--overwrite", "crd", routes, bundle+"=v99.0.0")
	kubectl(t, "annotate", "--overwrite", "crd", peers, source+"-")

	out, err := c.Kubectl(t.Context(), "apply", "--server-side", "--force-conflicts", "-f", crds)
	told := fmt.Sprint(out, err)
	if err == nil || !strings.Contains(told, "newer one, v99.0.0") || !strings.Contains(told, "Istio's own") {
		t.Errorf("kubectl does not say that both are left: %s", told)
	}
	if now := kubectl(t, "get", "crd", routes, "-o", `jsonpath={.metadata.annotations.gateway\.networking\.k8s\.io/bundle-version}`); now != "v99.0.0" {
		t.Errorf("the newer definition was replaced by %s", now)
	}
	told, err = ambit(t, "check", "--kube")
	if err != nil || !strings.Contains(told, "installed by somebody else: "+peers) {
		t.Errorf("ambit check: %v\n%s", err, told)
	}
}
