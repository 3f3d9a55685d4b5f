package oci

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Image is an image of one layer.
type Image struct {
	Name       string // reference, as the manifests name it: ambit.dev/ambit-agent:v1
	Arch       string // as GOARCH
	User       string // uid, or uid:gid; "" is root
	Entrypoint []string
	Labels     map[string]string
	Files      []File
}

const (
	indexType    = "application/vnd.oci.image.index.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
	never        = "1970-01-01T00:00:00Z"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *platform         `json:"platform,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

type config struct {
	Architecture string  `json:"architecture"`
	OS           string  `json:"os"`
	Created      string  `json:"created"`
	Config       process `json:"config"`
	RootFS       rootFS  `json:"rootfs"`
}

type process struct {
	User       string            `json:"User,omitempty"`
	Entrypoint []string          `json:"Entrypoint"`
	Env        []string          `json:"Env"`
	WorkingDir string            `json:"WorkingDir"`
	Labels     map[string]string `json:"Labels,omitempty"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

// Archive returns the image as an OCI archive, a tar of an OCI layout, and the digest of its manifest.
func (i Image) Archive() (archive []byte, manifestDigest string, err error) {
	l, err := newLayer(i.Files)
	if err != nil {
		return nil, "", err
	}
	var a blobs
	conf := a.add(configType, i.config(l.diffID))
	man := a.add(manifestType, manifest{2, manifestType, conf, []descriptor{a.addBytes(layerType, l.blob)}})
	man.Platform = &platform{i.Arch, "linux"}
	man.Annotations = map[string]string{"io.containerd.image.name": i.Name, "org.opencontainers.image.ref.name": i.Name}
	top := a.marshal(index{2, indexType, []descriptor{man}})
	if a.err != nil {
		return nil, "", a.err
	}
	archive, err = a.pack(top)
	return archive, man.Digest, err
}

func (i Image) config(diffID string) config {
	return config{
		Architecture: i.Arch, OS: "linux", Created: never,
		Config: process{User: i.User, Entrypoint: i.Entrypoint, Env: []string{"PATH=/"}, WorkingDir: "/", Labels: i.Labels},
		RootFS: rootFS{"layers", []string{diffID}},
	}
}

// blobs collects what a layout holds, in the order in which it was added.
type blobs struct {
	all [][]byte
	err error
}

func (a *blobs) add(mediaType string, v any) descriptor { return a.addBytes(mediaType, a.marshal(v)) }

func (a *blobs) addBytes(mediaType string, b []byte) descriptor {
	a.all = append(a.all, b)
	return descriptor{MediaType: mediaType, Digest: digest(b), Size: int64(len(b))}
}

func (a *blobs) marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil && a.err == nil {
		a.err = fmt.Errorf("encode image: %w", err)
	}
	return b
}

func (a *blobs) pack(top []byte) ([]byte, error) {
	files := []File{{"/oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`)}, {"/index.json", 0o644, top}}
	for _, b := range a.all {
		files = append(files, File{"/blobs/sha256/" + strings.TrimPrefix(digest(b), "sha256:"), 0o644, b})
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files { // the layout and the index first: readers of streams want them early
		if err := entry(w, tar.Header{Typeflag: tar.TypeReg, Name: f.Path[1:], Mode: f.Mode, Size: int64(len(f.Data))}, f.Data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("write archive: %w", err)
	}
	return out.Bytes(), nil
}
