package translate

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"sigs.k8s.io/yaml"

	_ "github.com/ambitmesh/ambit/internal/meshpb/ambit" // protojson resolves extensions
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/internal/objects"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden translates each testdata/<case>.in.yaml and compares with <case>.out.yaml.
//
// In an input, a comment "# captured: <node> <namespace>/<pod>" captures a pod. A later version of an
// object replaces the earlier one, as a change would.
func TestGolden(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, in := range inputs {
		t.Run(strings.TrimSuffix(filepath.Base(in), ".in.yaml"), func(t *testing.T) {
			got := golden(t, in)
			out := strings.TrimSuffix(in, ".in.yaml") + ".out.yaml"
			if *update {
				if err := os.WriteFile(out, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s\nrun go test -update if this is meant", out, diff)
			}
		})
	}
}

// result is the shape of a golden file.
type result struct {
	Addresses      []any    `json:"addresses,omitempty"`
	Authorizations []any    `json:"authorizations,omitempty"`
	Statuses       []Status `json:"statuses"`
}

func golden(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := NewMesh(Options{})
	load(t, m, data)
	for line := range strings.Lines(string(data)) {
		var node, pod string
		if n, _ := fmt.Sscanf(line, "# captured: %s %s", &node, &pod); n == 2 {
			m.SetCaptured(node, "Kubernetes//Pod/"+pod, true)
		}
	}
	if _, err := m.Changes(); err != nil {
		t.Fatal(err)
	}
	var r result
	for _, res := range m.Resources(AddressType) {
		r.Addresses = append(r.Addresses, render(t, res))
	}
	for _, res := range m.Resources(AuthorizationType) {
		if !strings.HasSuffix(res.Name, staticStrict) {
			r.Authorizations = append(r.Authorizations, render(t, res))
		}
	}
	r.Statuses = m.Statuses()
	out, err := yaml.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// load sets all objects of a file, and the stand-ins of those that are refused.
func load(t testing.TB, m *Mesh, data []byte) {
	t.Helper()
	docs, err := objects.Decode(data, objects.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range docs {
		obj := d.Object
		if obj == nil {
			obj = d.StandIn
		}
		if obj == nil {
			t.Fatalf("document %d: %v", d.Number, d.Err)
		}
		if err := m.Set(obj); err != nil {
			t.Fatal(err)
		}
	}
}

// render turns a resource into what YAML shows: protojson with addresses as text.
func render(t *testing.T, r *Resource) any {
	t.Helper()
	var js []byte
	var err error
	if r.Type == AddressType {
		var a workload.Address
		if err := r.Body.UnmarshalTo(&a); err != nil {
			t.Fatal(err)
		}
		js, err = protojson.Marshal(&a)
	} else {
		var a security.Authorization
		if err := r.Body.UnmarshalTo(&a); err != nil {
			t.Fatal(err)
		}
		js, err = protojson.Marshal(&a)
	}
	if err != nil {
		t.Fatal(err)
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(js))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return readable(v)
}

// readable replaces the bytes of addresses, which JSON shows in base64, by their text.
func readable(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = readable(x)
			if s, ok := x.(string); ok && k == "address" {
				v[k] = addressText(s)
			}
			if list, ok := x.([]any); ok && k == "addresses" {
				for i, e := range list {
					if s, ok := e.(string); ok {
						list[i] = addressText(s)
					}
				}
			}
		}
	case []any:
		for i := range v {
			v[i] = readable(v[i])
		}
	}
	return v
}

func addressText(s string) string {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return s
	}
	if ip, ok := netip.AddrFromSlice(b); ok {
		return ip.String()
	}
	return s
}
