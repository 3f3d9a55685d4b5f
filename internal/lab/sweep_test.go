package lab

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestHelperOwner is not a test: it owns a lab until it is killed.
func TestHelperOwner(t *testing.T) {
	if os.Getenv("AMBIT_LAB_OWNER") == "" {
		t.Skip("only run by TestAKilledLabIsSweptByTheNext")
	}
	l, err := New(t.Context(), Options{Manual: true, App: []string{"/proc/self/exe", "lab-app"}})
	if err != nil {
		t.Fatal(err)
	}
	p := addPod(t, l, "pod", "node-a")
	appOf(t, p)
	fmt.Println("OWNER " + l.Name())
	time.Sleep(time.Hour)
}

func TestAKilledLabIsSweptByTheNext(t *testing.T) {
	if err := Unusable(); err != nil {
		t.Skip(err)
	}
	alive := manual(t)
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestHelperOwner$")
	cmd.Env = append(os.Environ(), "AMBIT_LAB_OWNER=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	name := ""
	for s := bufio.NewScanner(out); name == "" && s.Scan(); {
		name, _ = strings.CutPrefix(s.Text(), "OWNER ")
		if !strings.HasPrefix(s.Text(), "OWNER ") {
			name = ""
		}
	}
	if name == "" {
		t.Fatal("the owner made no lab")
	}
	root, err := lockRoot() // else another test's lab may sweep it before we have looked
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	cmd.Wait() // its end is what counts
	if left := Leftovers(name); len(left) == 0 {
		t.Error("nothing to sweep")
	}
	if err := root.Close(); err != nil {
		t.Fatal(err)
	}
	manual(t)
	if left := Leftovers(name); len(left) > 0 {
		t.Errorf("not swept: %q", left)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if _, err := alive.controller.Run(ctx, "/bin/true"); err != nil {
		t.Errorf("the living lab was swept too: %v", err)
	}
}

func TestAddressesMayBeUsedAgainAtOnce(t *testing.T) {
	l := manual(t)
	p := addPod(t, l, "first", "node-a")
	v4, v6 := p.V4, p.V6
	if err := p.Delete(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p.NetNS()); !os.IsNotExist(err) {
		t.Errorf("namespace of a deleted pod: %v", err)
	}
	q, err := l.AddPod(t.Context(), PodSpec{Namespace: "shop", Name: "first", Node: "node-a", V4: v4, V6: v6})
	if err != nil {
		t.Fatal(err)
	}
	if q.V4 != v4 || q.V6 != v6 || q.UID == p.UID {
		t.Errorf("pod %+v after %+v", q, p)
	}
}
