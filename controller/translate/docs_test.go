package translate

import (
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	networkingapi "istio.io/api/networking/v1alpha3"
	istioapi "istio.io/api/security/v1beta1"
)

const fieldsPage = "../../docs/reference/istio-fields.md"

// TestEveryFieldIsDocumented compares the reference page with the kinds: a field of a new version of
// Istio must be looked at.
func TestEveryFieldIsDocumented(t *testing.T) {
	data, err := os.ReadFile(fieldsPage)
	if err != nil {
		t.Fatal(err)
	}
	for title, m := range map[string]protoreflect.MessageDescriptor{
		"AuthorizationPolicy": (&istioapi.AuthorizationPolicy{}).ProtoReflect().Descriptor(),
		"PeerAuthentication":  (&istioapi.PeerAuthentication{}).ProtoReflect().Descriptor(),
		"DestinationRule":     (&networkingapi.DestinationRule{}).ProtoReflect().Descriptor(),
	} {
		_, section, ok := strings.Cut(string(data), "\n## "+title+"\n")
		if !ok {
			t.Fatalf("no section %s", title)
		}
		section, _, _ = strings.Cut(section, "\n## ")
		documented := words(section)
		for _, path := range undocumented(documented, "", m, 0) {
			t.Errorf("%s: %s is not in %s", title, path, fieldsPage)
		}
	}
}

// words returns what stands between backquotes.
func words(section string) (out []string) {
	parts := strings.Split(section, "`")
	for i := 1; i < len(parts); i += 2 {
		out = append(out, parts[i])
	}
	return out
}

// undocumented returns the fields that are missing. A message is documented by its own name or by its fields.
func undocumented(documented []string, prefix string, m protoreflect.MessageDescriptor, depth int) (missing []string) {
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		path := prefix + f.JSONName()
		inner := f.Message()
		if f.IsMap() {
			inner = f.MapValue().Message()
		}
		dotted := path + "."
		if f.IsList() || f.IsMap() {
			dotted = path + "[]."
		}
		deep := slices.ContainsFunc(documented, func(w string) bool { return strings.HasPrefix(w, dotted) })
		switch {
		case inner != nil && deep && depth < 8:
			missing = append(missing, undocumented(documented, dotted, inner, depth+1)...)
		case !slices.Contains(documented, path):
			missing = append(missing, path)
		}
	}
	return missing
}
