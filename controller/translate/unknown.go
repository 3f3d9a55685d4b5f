package translate

import (
	"errors"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// allKnown refuses a spec with fields of a later version: any of them may be a restriction.
func (r *reader) allKnown(spec proto.Message) {
	if hasUnknown(spec.ProtoReflect()) {
		r.fail("spec", errors.New("a field that is not known to this version"))
	}
}

func hasUnknown(m protoreflect.Message) bool {
	found := len(m.GetUnknown()) > 0
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				found = found || hasUnknown(v.List().Get(i).Message())
			}
		case f.IsMap():
			found = found || mapHasUnknown(f, v.Map())
		default:
			found = found || hasUnknown(v.Message())
		}
		return !found
	})
	return found
}

func mapHasUnknown(f protoreflect.FieldDescriptor, m protoreflect.Map) (found bool) {
	if f.MapValue().Message() == nil {
		return false
	}
	m.Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
		found = hasUnknown(v.Message())
		return !found
	})
	return found
}
