package objects

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	networking "istio.io/client-go/pkg/apis/networking/v1"
	security "istio.io/client-go/pkg/apis/security/v1"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
)

// envelope is an Istio object around its protobuf spec, whose own JSON decoder would pass over unknown fields.
type envelope struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              json.RawMessage `json:"spec"`
	Status            json.RawMessage `json:"status"` // ours to write, so not read
}

var errUnknownType = errors.New("no protobuf spec")

func decodeProto(js []byte, obj Object) error {
	var e envelope
	strict, err := kjson.UnmarshalStrict(js, &e)
	if err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	if err := errors.Join(strict...); err != nil {
		return err
	}
	spec := setEnvelope(obj, e)
	if spec == nil {
		return fmt.Errorf("decode %T: %w", obj, errUnknownType)
	}
	if len(e.Spec) == 0 || string(e.Spec) == "null" {
		return nil
	}
	return decodeSpec(e.Spec, spec)
}

func decodeSpec(js []byte, m proto.Message) error {
	var tree any
	if err := json.Unmarshal(js, &tree); err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	if err := checkMessage("spec", tree, m.ProtoReflect().Descriptor()); err != nil {
		return err
	}
	if err := protojson.Unmarshal(js, m); err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	return nil
}

// setEnvelope puts the parts that are not protobuf into obj and returns its spec.
func setEnvelope(obj Object, e envelope) proto.Message {
	switch o := obj.(type) {
	case *security.AuthorizationPolicy:
		o.TypeMeta, o.ObjectMeta = e.TypeMeta, e.ObjectMeta
		return &o.Spec
	case *security.PeerAuthentication:
		o.TypeMeta, o.ObjectMeta = e.TypeMeta, e.ObjectMeta
		return &o.Spec
	case *security.RequestAuthentication:
		o.TypeMeta, o.ObjectMeta = e.TypeMeta, e.ObjectMeta
		return &o.Spec
	case *networking.DestinationRule:
		o.TypeMeta, o.ObjectMeta = e.TypeMeta, e.ObjectMeta
		return &o.Spec
	case *networking.ServiceEntry:
		o.TypeMeta, o.ObjectMeta = e.TypeMeta, e.ObjectMeta
		return &o.Spec
	case *networking.WorkloadEntry:
		o.TypeMeta, o.ObjectMeta = e.TypeMeta, e.ObjectMeta
		return &o.Spec
	}
	return nil
}

// checkMessage looks for unknown fields and wrong shapes, because protojson names lines and not paths.
func checkMessage(path string, v any, d protoreflect.MessageDescriptor) error {
	if d.FullName().Parent() == "google.protobuf" {
		return nil // durations, wrappers: protojson judges them
	}
	obj, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: want an object, got %s", path, shape(v))
	}
	for _, name := range slices.Sorted(maps.Keys(obj)) {
		f := d.Fields().ByJSONName(name)
		if f == nil {
			f = d.Fields().ByTextName(name)
		}
		at := path + "." + name
		if f == nil {
			return fmt.Errorf("%s: unknown field", at)
		}
		if err := checkField(at, obj[name], f); err != nil {
			return err
		}
	}
	return nil
}

func checkField(path string, v any, f protoreflect.FieldDescriptor) error {
	switch {
	case v == nil:
		return nil
	case f.IsMap():
		m, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("%s: want an object, got %s", path, shape(v))
		}
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if err := checkValue(path+"["+strconv.Quote(k)+"]", m[k], f.MapValue()); err != nil {
				return err
			}
		}
		return nil
	case f.IsList():
		list, ok := v.([]any)
		if !ok {
			return fmt.Errorf("%s: want a list, got %s", path, shape(v))
		}
		for i, e := range list {
			if err := checkValue(fmt.Sprintf("%s[%d]", path, i), e, f); err != nil {
				return err
			}
		}
		return nil
	}
	return checkValue(path, v, f)
}

func checkValue(path string, v any, f protoreflect.FieldDescriptor) error {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return checkMessage(path, v, f.Message())
	case protoreflect.StringKind:
		if _, ok := v.(string); !ok {
			return fmt.Errorf("%s: want a string, got %s", path, shape(v))
		}
	case protoreflect.BoolKind:
		if _, ok := v.(bool); !ok {
			return fmt.Errorf("%s: want true or false, got %s", path, shape(v))
		}
	case protoreflect.EnumKind:
		s, ok := v.(string)
		if ok && f.Enum().Values().ByName(protoreflect.Name(s)) == nil {
			return fmt.Errorf("%s: unknown value %q", path, s)
		}
		if !ok {
			return fmt.Errorf("%s: want a name, got %s", path, shape(v))
		}
	}
	return nil
}

func shape(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	}
	return "a number"
}
