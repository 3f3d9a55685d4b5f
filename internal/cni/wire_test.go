package cni

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestList(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if got, err := ReadList(a, b); err != nil || len(got) != 0 {
		t.Errorf("no list: %v, %v", got, err)
	}
	if err := WriteList(b, []string{"shop", "bank"}); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadList(a, b); err != nil || !slices.Equal(got, []string{"bank", "shop"}) {
		t.Errorf("second list: %v, %v", got, err)
	}
	if err := WriteList(a, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadList(a, b); err != nil || len(got) != 0 {
		t.Errorf("an empty list is a list: %v, %v", got, err)
	}
	if _, err := ReadList(dir); err == nil {
		t.Error("a directory is a list")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("left over: %v, %v", left, err)
	}
	if err := WriteList(filepath.Join(dir, "missing", "x"), nil); err == nil {
		t.Error("written into a directory that is not there")
	}
}
