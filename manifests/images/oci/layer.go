// Package oci writes container images as OCI archives, with the standard library only and so that the
// same files always give the same bytes: times are zero, names are sorted, owners are root.
package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// File is one file of an image.
type File struct {
	Path string // absolute, in the image
	Mode int64  // permission bits
	Data []byte
}

// layer is a compressed tar and the digest of what it was before.
type layer struct {
	blob   []byte
	diffID string
}

func newLayer(files []File) (layer, error) {
	var raw bytes.Buffer
	if err := writeTar(&raw, files); err != nil {
		return layer{}, err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed) // its header has no time
	if _, err := z.Write(raw.Bytes()); err != nil {
		return layer{}, fmt.Errorf("compress layer: %w", err)
	}
	if err := z.Close(); err != nil {
		return layer{}, fmt.Errorf("compress layer: %w", err)
	}
	return layer{packed.Bytes(), digest(raw.Bytes())}, nil
}

func writeTar(out *bytes.Buffer, files []File) error {
	files = slices.SortedFunc(slices.Values(files), func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	w := tar.NewWriter(out)
	made := map[string]bool{}
	for _, f := range files {
		if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path {
			return fmt.Errorf("file %q: want a clean absolute path", f.Path)
		}
		if made[f.Path] {
			return fmt.Errorf("file %s stands twice", f.Path)
		}
		made[f.Path] = true
		for _, dir := range parents(f.Path) {
			if made[dir] {
				continue
			}
			made[dir] = true
			if err := entry(w, tar.Header{Typeflag: tar.TypeDir, Name: dir[1:] + "/", Mode: 0o755}, nil); err != nil {
				return err
			}
		}
		if err := entry(w, tar.Header{Typeflag: tar.TypeReg, Name: f.Path[1:], Mode: f.Mode, Size: int64(len(f.Data))}, f.Data); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("write tar: %w", err)
	}
	return nil
}

// parents are the directories above a path, the outermost first, without the root.
func parents(p string) (dirs []string) {
	for d := path.Dir(p); d != "/"; d = path.Dir(d) {
		dirs = append([]string{d}, dirs...)
	}
	return dirs
}

func entry(w *tar.Writer, h tar.Header, data []byte) error {
	h.ModTime = time.Unix(0, 0)
	if err := w.WriteHeader(&h); err != nil {
		return fmt.Errorf("write tar header of %s: %w", h.Name, err)
	}
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("write %s to tar: %w", h.Name, err)
	}
	return nil
}

func digest(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
