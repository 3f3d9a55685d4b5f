package objects

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Document is one object of a file, or why there is none.
type Document struct {
	Number    int // in the file, from 1
	Kind      Kind
	Namespace string
	Name      string // "" when not even that could be read
	Object    Object // nil when Err is set
	Err       error

	// StandIn replaces a refused policy that has no earlier version: it allows nothing.
	StandIn Object

	hash [sha256.Size]byte // of the object's JSON
}

var (
	errTooLarge = errors.New("too large")
	errTooMany  = errors.New("too many")
)

// Decode reads a file's documents strictly. A refused one costs only itself. The error is set when the file as
// a whole breaks a limit.
func Decode(data []byte, l Limits) ([]Document, error) {
	l.fill()
	if int64(len(data)) > l.FileSize {
		return nil, fmt.Errorf("decode file of %d bytes: %w (limit %d)", len(data), errTooLarge, l.FileSize)
	}
	parts := split(data)
	if len(parts) > l.Documents {
		return nil, fmt.Errorf("decode file of %d documents: %w (limit %d)", len(parts), errTooMany, l.Documents)
	}
	var docs []Document
	for i, part := range parts {
		for _, doc := range decodePart(part, l) {
			doc.Number = i + 1
			docs = append(docs, doc)
		}
		if len(docs) > l.Documents {
			return nil, fmt.Errorf("decode file: %w objects (limit %d)", errTooMany, l.Documents)
		}
	}
	return docs, nil
}

// split cuts a file at its document markers, which stand at the start of a line in YAML whatever is around.
func split(data []byte) [][]byte {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var parts [][]byte
	start := 0
	for at := 0; at < len(data); {
		end := len(data)
		if n := bytes.IndexByte(data[at:], '\n'); n >= 0 {
			end = at + n + 1
		}
		if isMarker(data[at:end]) {
			if at > start { // what precedes the first marker is a document only if it holds something
				parts = append(parts, data[start:at])
			}
			start = at + len("---")
		}
		at = end
	}
	return append(parts, data[start:])
}

func isMarker(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	return ok && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r' || rest[0] == '\n')
}

func decodePart(part []byte, l Limits) []Document {
	if len(part) > l.Document {
		return []Document{{Err: fmt.Errorf("document of %d bytes: %w (limit %d)", len(part), errTooLarge, l.Document)}}
	}
	if len(bytes.TrimSpace(part)) == 0 {
		return nil
	}
	js, err := yaml.YAMLToJSONStrict(part)
	if err != nil {
		return []Document{{Err: fmt.Errorf("not YAML: %w", err)}}
	}
	if string(js) == "null" {
		return nil
	}
	if len(js) > 2*l.Document { // aliases can make much of little
		return []Document{{Err: fmt.Errorf("document expands to %d bytes: %w", len(js), errTooLarge)}}
	}
	return decodeJSON(js, true)
}

// header is what tells one object from another.
type header struct {
	APIVersion string            `json:"apiVersion"`
	Kind       Kind              `json:"kind"`
	Items      []json.RawMessage `json:"items"`
	Metadata   struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"metadata"`
}

func decodeJSON(js []byte, lists bool) []Document {
	var h header
	if err := kjson.UnmarshalCaseSensitivePreserveInts(js, &h); err != nil {
		return []Document{{Err: fmt.Errorf("not an object: %w", err)}}
	}
	if lists && h.Kind == "List" && h.APIVersion == "v1" {
		var docs []Document
		for _, item := range h.Items {
			docs = append(docs, decodeJSON(item, false)...)
		}
		return docs
	}
	return []Document{decodeObject(js, h)}
}

func decodeObject(js []byte, h header) Document {
	doc := Document{Kind: h.Kind, Namespace: h.Metadata.Namespace, Name: h.Metadata.Name, hash: sha256.Sum256(js)}
	if s, ok := registry[h.Kind]; ok && doc.Namespace == "" && !s.cluster {
		doc.Namespace = "default" // as kubectl does
	}
	sp, err := lookup(h.Kind, h.APIVersion)
	if err != nil {
		doc.Err = err
		return doc
	}
	if err := checkName(doc, sp); err != nil {
		doc.Err, doc.Name = err, ""
		return doc
	}
	obj := sp.make()
	if sp.proto {
		err = decodeProto(js, obj)
	} else {
		err = decodeStruct(js, obj)
	}
	if err != nil {
		doc.Err, doc.StandIn = err, standIn(doc, js, err)
		return doc
	}
	finish(obj, doc)
	doc.Object = obj
	return doc
}

// checkName refuses names that the API server would refuse: they become parts of SPIFFE IDs and keys.
func checkName(doc Document, sp spec) error {
	check := validation.IsDNS1123Subdomain
	if doc.Kind == Namespace || doc.Kind == Service {
		check = validation.IsDNS1123Label
	}
	if bad := check(doc.Name); len(bad) > 0 {
		return fmt.Errorf("metadata.name: %q: %s", doc.Name, strings.Join(bad, "; "))
	}
	if sp.cluster {
		if doc.Namespace != "" {
			return fmt.Errorf("metadata.namespace: a %s has none", doc.Kind)
		}
		return nil
	}
	if bad := validation.IsDNS1123Label(doc.Namespace); len(bad) > 0 {
		return fmt.Errorf("metadata.namespace: %q: %s", doc.Namespace, strings.Join(bad, "; "))
	}
	return nil
}

// finish fills what the API server would have filled.
func finish(obj Object, doc Document) {
	obj.SetNamespace(doc.Namespace)
	if obj.GetUID() == "" {
		h := sha256.Sum256([]byte(string(doc.Kind) + "/" + keyOf(doc.Namespace, doc.Name)))
		obj.SetUID(types.UID(fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])))
	}
}

func decodeStruct(js []byte, obj Object) error {
	strict, err := kjson.UnmarshalStrict(js, obj)
	if err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	return errors.Join(strict...)
}
