package certs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ambitmesh/ambit/ztunnel/certs/certstest"
)

func statusError(c codes.Code) error { return fmt.Errorf("create: %w", status.Error(c, "no")) }

// handedOver is what a successor gets: a descriptor of its own.
func handedOver(t *testing.T, x *fixture) *os.File {
	t.Helper()
	f, err := x.Inherit(nil)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "handed over")
}

func TestSuccessorServesWithoutTheController(t *testing.T) {
	ca := certstest.Start(t, td)
	x := begin(t, ca)
	web, db := idOf("web"), idOf("db")
	x.Hold(web)
	file := handedOver(t, x) // the agent takes it once, before there is anything in it
	want := x.await(t, web)
	x.Hold(db)
	x.await(t, db)
	x.Release(db)
	eventually(t, "an export", func() bool {
		b, err := readVault(file)
		return err == nil && bytes.Contains(b, []byte(web.String())) && !bytes.Contains(b, []byte(db.String()))
	})
	x.stop()
	x.Close()
	ca.Server.Stop()

	y := build(t, ca)
	if err := os.Remove(y.token); err != nil {
		t.Fatal(err)
	}
	if _, err := y.Inherit(file); err != nil {
		t.Fatal(err)
	}
	y.start(t)
	y.Hold(web)
	got := y.await(t, web)
	if !got.Leaf.Equal(want.Leaf) || y.node.Cert() == nil {
		t.Error("it is another certificate")
	}
	y.Forget()
	y.Hold(db)
	if c, _ := y.Get(db); c != nil {
		t.Error("a key of a pod that had left was passed on")
	}
}

func TestExpiredCertificatesAreNotInherited(t *testing.T) {
	ca := certstest.Start(t, td)
	x := begin(t, ca)
	x.Hold(idOf("web"))
	x.await(t, idOf("web"))
	content := x.export()
	node, pods, err := parseState(content, nodeURI, time.Now())
	if err != nil || node == nil || len(pods) != 1 {
		t.Fatalf("%v, %d, %v", node, len(pods), err)
	}
	for name, parse := range map[string]func() (*issued, int){
		"later": func() (*issued, int) {
			n, p, _ := parseState(content, nodeURI, time.Now().Add(2*time.Hour))
			return n, len(p)
		},
		"earlier": func() (*issued, int) {
			n, p, _ := parseState(content, nodeURI, time.Now().Add(-2*time.Hour))
			return n, len(p)
		},
	} {
		if n, p := parse(); n != nil || p != 0 {
			t.Errorf("%s: %v, %d", name, n, p)
		}
	}
	if n, _, _ := parseState(content, "spiffe://cluster.local/node/other", time.Now()); n != nil {
		t.Error("took another node's certificate")
	}
}

func newTestVault(t testing.TB) *vault {
	t.Helper()
	v, err := newVault()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.close)
	return v
}

func TestVaultSurvivesHalfAWrite(t *testing.T) {
	v := newTestVault(t)
	for _, n := range []int{10, 5000, 20, 70000, 0, 3} {
		want := bytes.Repeat([]byte{byte(n)}, n)
		if err := v.write(want); err != nil {
			t.Fatal(err)
		}
		got, err := readVault(v.file)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("after %d bytes: %d, %v", n, len(got), err)
		}
	}
	// A writer that dies leaves a new content without its head, or half a head.
	cur := v.heads[0]
	if v.heads[1].generation > cur.generation {
		cur = v.heads[1]
	}
	older := 0
	if v.heads[0].generation == cur.generation {
		older = 1
	}
	torn := head{generation: cur.generation + 1, offset: 1 << 40, length: 5}
	if _, err := v.file.WriteAt(torn.bytes(), int64(len(vaultMagic)+older*headSize)); err != nil {
		t.Fatal(err)
	}
	if got, err := readVault(v.file); err != nil || len(got) != 3 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestVaultIsReadWhileWritten(t *testing.T) {
	v := newTestVault(t)
	if err := v.write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 2000 {
			if err := v.write(bytes.Repeat([]byte{byte(i)}, 1+i%300)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	good := 0
	for range 2000 {
		b, err := readVault(v.file)
		if err != nil { // the writer was twice round meanwhile
			continue
		}
		good++
		for _, c := range b {
			if c != b[0] {
				t.Fatal("two contents mixed")
			}
		}
	}
	wg.Wait()
	if good == 0 {
		t.Error("never read a whole content")
	}
}

func TestClosedVault(t *testing.T) {
	x := build(t, certstest.Start(t, td))
	x.Close()
	if _, err := x.Inherit(nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func FuzzVault(f *testing.F) {
	v := newTestVault(f)
	if err := v.write([]byte(`{"certs":[{"uri":"spiffe://cluster.local/ns/a/sa/b"}]}`)); err != nil {
		f.Fatal(err)
	}
	b := make([]byte, 4096)
	n, _ := v.file.ReadAt(b, 0)
	f.Add(b[:n])
	f.Add([]byte(vaultMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		content, err := readVault(bytes.NewReader(b))
		if err != nil && content != nil {
			t.Error("content with an error")
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"node":{"uri":"spiffe://cluster.local/node/n1","chain":["x"],"key":"AA=="},"certs":[{}]}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		node, pods, err := parseState(b, nodeURI, time.Now())
		if err != nil && (node != nil || pods != nil) {
			t.Error("certificates with an error")
		}
		for id, c := range pods {
			if c.Leaf.URIs[0].String() != id.String() {
				t.Error("a certificate under another name")
			}
		}
	})
}
