package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const hybrid = `25 30 0:23 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs run ro,mode=755
26 25 0:24 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 none rw
27 25 0:25 / /sys/fs/cgroup/systemd rw,nosuid shared:11 - cgroup none rw,name=systemd
`

const unified = `30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 none rw,nsdelegate
99 25 0:26 /kubepods /mnt/a\040b rw shared:5 - cgroup2 none rw
`

func TestParseMounts(t *testing.T) {
	for _, tt := range []struct {
		name, mounts, root string
		want               cgroups
	}{
		{"hybrid", hybrid, "", cgroups{"/sys/fs/cgroup/unified", "/", "/sys/fs/cgroup/unified"}},
		{"two at one place", unified + strings.ReplaceAll(strings.SplitAfter(unified, "\n")[0], " / ", " /../.. "), "", cgroups{"/sys/fs/cgroup", "/../..", "/sys/fs/cgroup"}},
		{"unified", unified, "", cgroups{"/sys/fs/cgroup", "/", "/sys/fs/cgroup"}},
		{"below", unified, "/sys/fs/cgroup/lab", cgroups{"/sys/fs/cgroup", "/", "/sys/fs/cgroup/lab"}},
		{"a mount with a space", unified, "/mnt/a b/x", cgroups{"/mnt/a b", "/kubepods", "/mnt/a b/x"}},
	} {
		got, err := parseMounts(tt.mounts, tt.root)
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(cgroups{})); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
	for name, mounts := range map[string]string{"empty": "", "no cgroup2": strings.ReplaceAll(hybrid, "cgroup2", "cgroup"), "cut": "26 25 - cgroup2"} {
		if got, err := parseMounts(mounts, ""); err == nil {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	if got, err := parseMounts(unified, "/elsewhere"); err == nil {
		t.Errorf("root outside of every mount: got %+v", got)
	}
}

func TestBelow(t *testing.T) {
	root := t.TempDir()
	inner, link := filepath.Join(root, "inner"), filepath.Join(root, "link")
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	c := cgroups{mount: root, mountRoot: "/", root: root}
	if dir, id, err := c.below(inner + "/."); err != nil || dir != inner || id == 0 {
		t.Errorf("inner: %s %d %v", dir, id, err)
	}
	for _, dir := range []string{root, root + "/", inner + "/..", link, "/", "/proc", filepath.Join(root, "missing")} {
		if got, _, err := c.below(dir); err == nil {
			t.Errorf("%s was taken as %s", dir, got)
		}
	}
}

const tcpTable = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:280A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:280A 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 20 4 30 10 -1
   2: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0000000000000000 100 0 0 10 0
`

func TestListeningInodes(t *testing.T) {
	got := map[string]bool{}
	listeningInodes(tcpTable, 10250, got)
	if diff := cmp.Diff(map[string]bool{"socket:[4711]": true}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add(hybrid, "")
	f.Add(unified, "/mnt/a b/x")
	f.Add(" - cgroup2 \n", "..")
	f.Fuzz(func(t *testing.T, mounts, root string) {
		c, err := parseMounts(mounts, root)
		if err == nil && (c.mount == "" || c.root == "" || root != "" && !within(root, c.mount)) {
			t.Errorf("got %+v of %q", c, root)
		}
	})
}

func FuzzListeningInodes(f *testing.F) {
	f.Add(tcpTable, uint16(10250))
	f.Add("x", uint16(0))
	f.Fuzz(func(t *testing.T, table string, port uint16) {
		got := map[string]bool{}
		listeningInodes(table, port, got)
		if len(got) > strings.Count(table, "\n")+1 {
			t.Errorf("%d inodes of %d lines", len(got), strings.Count(table, "\n"))
		}
	})
}

// TestProcessAboveTheCgroupNamespace: a container sees others' cgroups by /.. only.
func TestProcessAboveTheCgroupNamespace(t *testing.T) {
	if !above("/..") || !above("/../../x") || above("/") || above("/..x") {
		t.Error("above")
	}
	c := cgroups{mount: t.TempDir()}
	for dir, procs := range map[string]string{"a": "1\n17\n", "a/b": "71\n", "a/c": "7\n"} {
		if err := os.MkdirAll(filepath.Join(c.mount, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.mount, dir, "cgroup.procs"), []byte(procs), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if dir, err := c.search(7); err != nil || dir != filepath.Join(c.mount, "a/c") {
		t.Errorf("%s, %v", dir, err)
	}
	if dir, err := c.search(8); err == nil {
		t.Errorf("a process that is nowhere: %s", dir)
	}
}
