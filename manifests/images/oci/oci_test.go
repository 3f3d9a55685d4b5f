package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func image(files ...File) Image {
	return Image{Name: "example.com/x:v1", Arch: "amd64", User: "65532", Entrypoint: []string{"/x"}, Labels: map[string]string{"b": "2", "a": "1"}, Files: files}
}

var binary, note = File{"/x", 0o755, []byte("program")}, File{"/etc/deep/note", 0o644, []byte("text")}

func archive(t *testing.T, i Image) ([]byte, string) {
	t.Helper()
	b, d, err := i.Archive()
	if err != nil {
		t.Fatal(err)
	}
	return b, d
}

func TestSameFilesSameBytes(t *testing.T) {
	a, da := archive(t, image(binary, note))
	b, db := archive(t, image(note, binary))
	if !bytes.Equal(a, b) || da != db {
		t.Errorf("digests %s and %s of the same files in another order", da, db)
	}
	changed := binary
	changed.Data = []byte("other")
	if _, d := archive(t, image(changed, note)); d == da {
		t.Error("another program has the same digest")
	}
}

// entries reads a tar; headers must carry no time and no owner.
func entries(t *testing.T, b []byte) (names []string, data map[string][]byte) {
	t.Helper()
	data = map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, data
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.Unix() != 0 || h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
			t.Errorf("%s: time %v, owner %d:%d %s", h.Name, h.ModTime, h.Uid, h.Gid, h.Uname)
		}
		names = append(names, h.Name)
		if data[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// The archive is followed as a container runtime does: index, manifest, config and layer, by digests.
func TestTheLayoutHoldsTogether(t *testing.T) {
	b, want := archive(t, image(note, binary))
	_, blobs := entries(t, b)
	var top index
	decode(t, blobs["index.json"], &top)
	if len(top.Manifests) != 1 || top.Manifests[0].Digest != want || top.Manifests[0].Annotations["io.containerd.image.name"] != "example.com/x:v1" {
		t.Fatalf("index %+v", top)
	}
	var m manifest
	decode(t, follow(t, blobs, top.Manifests[0]), &m)
	var c config
	decode(t, follow(t, blobs, m.Config), &c)
	z, err := gzip.NewReader(bytes.NewReader(follow(t, blobs, m.Layers[0])))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.RootFS.DiffIDs) != 1 || c.RootFS.DiffIDs[0] != digest(raw) || c.Config.User != "65532" || !slices.Equal(c.Config.Entrypoint, []string{"/x"}) {
		t.Errorf("config %+v", c)
	}
	names, files := entries(t, raw)
	if !slices.Equal(names, []string{"etc/", "etc/deep/", "etc/deep/note", "x"}) || string(files["x"]) != "program" {
		t.Errorf("layer holds %v", names)
	}
}

func follow(t *testing.T, blobs map[string][]byte, d descriptor) []byte {
	t.Helper()
	b, ok := blobs["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")]
	if !ok || digest(b) != d.Digest || int64(len(b)) != d.Size {
		t.Fatalf("blob %s of %d bytes is not what its descriptor says", d.Digest, d.Size)
	}
	return b
}

func decode(t *testing.T, b []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("decode %s: %v", b, err)
	}
}

func TestPathsThatCannotBe(t *testing.T) {
	for _, files := range [][]File{{{Path: "x"}}, {{Path: "/a/../x"}}, {{Path: "/x/"}}, {binary, binary}} {
		if _, _, err := image(files...).Archive(); err == nil {
			t.Errorf("%v: no error", files)
		}
	}
}
