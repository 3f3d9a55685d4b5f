package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// object is the labels and annotations of a Namespace that the lab wrote.
type object struct{ labels, annotations map[string]string }

// ModeLabel enrols a namespace or a pod with the value "ambient" and keeps a pod out with "none".
const ModeLabel = "istio.io/dataplane-mode"

// Apply puts a file of YAML documents into the lab's objects, at once and whole. The same name replaces.
func (l *Lab) Apply(name, documents string) error {
	tmp := filepath.Join(l.ObjectsDir(), "."+name+".tmp")
	if err := os.WriteFile(tmp, []byte(documents), 0o600); err != nil {
		return fmt.Errorf("apply %s: %w", name, err)
	}
	if err := os.Rename(tmp, filepath.Join(l.ObjectsDir(), name+".yaml")); err != nil {
		return fmt.Errorf("apply %s: %w", name, err)
	}
	return nil
}

// Remove takes away what Apply put. Removing what is not there is no error.
func (l *Lab) Remove(name string) error {
	err := os.Remove(filepath.Join(l.ObjectsDir(), name+".yaml"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// LabelNamespace sets one label of a namespace, or takes it away with an empty value. The namespace is
// made if it is not there.
func (l *Lab) LabelNamespace(namespace, key, value string) error {
	return l.changeNamespace(namespace, func(o *object) { set(o.labels, key, value) })
}

// Enrol labels a namespace ambient, or takes the label away.
func (l *Lab) Enrol(namespace string, yes bool) error {
	value := ""
	if yes {
		value = "ambient"
	}
	return l.LabelNamespace(namespace, ModeLabel, value)
}

// AnnotateNamespace sets or takes away one annotation.
func (l *Lab) AnnotateNamespace(namespace, key, value string) error {
	return l.changeNamespace(namespace, func(o *object) { set(o.annotations, key, value) })
}

func set(m map[string]string, key, value string) {
	m[key] = value
	if value == "" {
		delete(m, key)
	}
}

func (l *Lab) changeNamespace(name string, change func(*object)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.objects[name]
	o := object{labels: map[string]string{}, annotations: map[string]string{}}
	maps.Copy(o.labels, old.labels)
	maps.Copy(o.annotations, old.annotations)
	change(&o)
	l.objects[name] = o
	b, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "kind": "Namespace",
		"metadata": map[string]any{"name": name, "labels": o.labels, "annotations": o.annotations}})
	if err != nil {
		return fmt.Errorf("describe namespace %s: %w", name, err)
	}
	return l.Apply("namespace-"+name, string(b))
}
