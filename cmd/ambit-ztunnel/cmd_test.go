package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func good() options {
	return options{
		node: "n1", runDir: "/run/x", controller: "10.0.0.1:15012", controllerRoot: "/root.pem", trustDomain: "cluster.local", clusterID: "c",
		metricsAddr: ":15020", readyAddr: ":15021", adminAddr: "127.0.0.1:15000", drainTime: time.Second, sameNode: "proxy", engine: "std", accessLog: "off", level: "info",
	}
}

func TestErrorsNameTheFlag(t *testing.T) {
	o := good()
	if _, err := o.config(); err != nil {
		t.Fatal(err)
	}
	for flag, spoil := range map[string]func(*options){
		"--node":            func(o *options) { o.node = "a b" },
		"--trust-domain":    func(o *options) { o.trustDomain = "Cluster.Local" },
		"--cluster-id":      func(o *options) { o.clusterID = "" },
		"--run-dir":         func(o *options) { o.runDir = "" },
		"--controller ":     func(o *options) { o.controller = "controller" },
		"--controller \"":   func(o *options) { o.controller = ":0" },
		"--controller-root": func(o *options) { o.controllerRoot = "" },
		"--token-file":      func(o *options) { o.token, o.joinToken = "/a", "/b" },
		"--controller-name": func(o *options) { o.controllerName = "istiod.istio-system.svc" },
		"--pod-ip":          func(o *options) { o.podIP = "web" },
		"--metrics-addr":    func(o *options) { o.metricsAddr = "nowhere" },
		"--ready-addr":      func(o *options) { o.readyAddr = "x:y:z" },
		"--admin-addr":      func(o *options) { o.adminAddr = "0.0.0.0:15000" },
		"--drain-time":      func(o *options) { o.drainTime = -1 },
		"--same-node":       func(o *options) { o.sameNode = "never" },
		"--engine":          func(o *options) { o.engine = "fast" },
		"--access-log":      func(o *options) { o.accessLog = "" },
		"--log-level":       func(o *options) { o.level = "loud" },
	} {
		o := good()
		spoil(&o)
		if _, err := o.config(); err == nil || !strings.HasPrefix(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func TestFill(t *testing.T) {
	o := options{runDir: "/run/x"}
	if err := o.fill(); err != nil || o.zds != "/run/x/zds/zds.sock" || o.node == "" {
		t.Errorf("%+v %v", o, err)
	}
}

func TestCgroupMemory(t *testing.T) {
	root := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a/b/memory.max", "max\n")
	write("a/memory.max", "1000\n")
	write("self", "1:name=x:/y\n0::/a/b\n")
	write("top", "0::/\n")
	if n := cgroupMemory(filepath.Join(root, "self"), root); n != 1000 {
		t.Errorf("limit of the parent: %d", n)
	}
	if n := cgroupMemory(filepath.Join(root, "top"), root); n != 0 {
		t.Errorf("no limit: %d", n)
	}
	write("memory.max", "77")
	if n := cgroupMemory(filepath.Join(root, "top"), root); n != 77 {
		t.Errorf("limit of a container: %d", n)
	}
	if n := cgroupMemory(filepath.Join(root, "none"), root); n != 0 {
		t.Errorf("unknown: %d", n)
	}
}

func TestTLSResumption(t *testing.T) {
	if f := rootCmd(nil).Flags().Lookup("tls-resumption"); f == nil || f.DefValue != "true" {
		t.Errorf("%+v", f)
	}
	for _, on := range []bool{true, false} {
		o := good()
		o.tlsResumption = on
		if c, err := o.config(); err != nil || c.TLSResumption != on {
			t.Errorf("%v: %v %v", on, c.TLSResumption, err)
		}
	}
}

func TestBusyPoll(t *testing.T) {
	if f := rootCmd(nil).Flags().Lookup("busy-poll"); f == nil || f.DefValue != "50µs" {
		t.Errorf("%+v", f)
	}
	o := good()
	o.busyPoll = 7
	if c, err := o.config(); err != nil || c.BusyPoll != 7 {
		t.Errorf("%v %v", c.BusyPoll, err)
	}
	o.busyPoll = -1
	if _, err := o.config(); err == nil {
		t.Error("less than nothing is taken")
	}
}
