package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
	"github.com/ambitmesh/ambit/ztunnel/zds/zdstest"
)

const web = "spiffe://cluster.local/ns/shop/sa/web"

func TestLifeOfAProxy(t *testing.T) {
	for _, kind := range []EngineKind{Std, Loop} {
		t.Run(string(kind), func(t *testing.T) { lifeOfAProxy(t, kind) })
	}
}

func lifeOfAProxy(t *testing.T, kind EngineKind) {
	ca, ctl, dir, agent := newWorld(t)
	config := func(token string) Config {
		cfg := configOf(t, ca, dir, token)
		cfg.Engine = kind
		return cfg
	}
	p := start(t, config("good"))
	s := agent.Accept()
	if s.Hello.GetVersion() != pb.Version_V2 || s.Hello.GetInstance() == "" || s.Hello.GetBuild() != "v1" {
		t.Errorf("hello %v", s.Hello)
	}
	if p.isReady() {
		t.Error("ready before the agent has named its pods")
	}
	state := welcome(t, s)
	eventually(t, "ready", p.isReady)
	eventually(t, "a certificate of the pod", func() bool { return certificateState(p.dump(), web) == "Available" })
	eventually(t, "a pod that waits for nothing", func() bool { return p.dump().WorkloadState["u1"].Waiting == "" })
	if d := p.dump(); len(d.Workloads) != 1 || d.WorkloadState["u1"].State != "serving" {
		t.Errorf("dump %+v", d.WorkloadState)
	}
	eventually(t, "a report of the capture", func() bool {
		ctl.mu.Lock()
		defer ctl.mu.Unlock()
		return len(ctl.captured) == 1 && ctl.captured[0] == "c1//Pod/shop/web-1"
	})
	if id := ctl.node.GetId(); !strings.HasPrefix(id, "ztunnel~127.0.0.1~n1.ambit-system~") || strings.Count(id, "~") != 3 {
		t.Errorf("node id %s", id)
	}
	if code, body := p.get("/metrics"); code != 200 || !strings.Contains(body, `ambit_pods{state="serving"} 1`) || !strings.Contains(body, `ambit_ztunnel_info{engine="`+string(kind)+`",version="v1"} 1`) || !strings.Contains(body, "ambit_certificate_expiry_seconds{identity=\""+web) {
		t.Errorf("metrics: %d", code)
	}
	eventually(t, "a saved snapshot", func() bool {
		info, err := os.Stat(p.cfg.snapshotFile())
		return err == nil && info.Mode().Perm() == 0o600
	})
	close(p.terminate)
	if err := p.end(); err != nil {
		t.Fatal(err)
	}

	ca.Server.Stop() // the successor has neither controller nor token
	next := start(t, config("used"))
	welcome(t, agent.Accept(), state)
	eventually(t, "ready without the controller", next.isReady)
	if got := certificateState(next.dump(), web); got != "Available" {
		t.Errorf("certificate: %s", got)
	}
}

func TestNewerProxyTakesOver(t *testing.T) {
	ca, _, dir, agent := newWorld(t)
	old := start(t, configOf(t, ca, dir, "good"))
	s := agent.Accept()
	state := welcome(t, s)
	eventually(t, "ready", old.isReady)

	cfg := configOf(t, ca, dir, "used")
	cfg.ReadyAddr, cfg.MetricsAddr, cfg.AdminAddr = old.cfg.ReadyAddr, old.cfg.MetricsAddr, old.cfg.AdminAddr
	next := start(t, cfg)
	welcome(t, agent.Accept(), state)
	s.Must(drainNow)
	eventually(t, "ready", next.isReady)
	add, fds := zdstest.Pod(t, "u2", "shop", "db", "db", [4]byte{10, 0, 0, 2})
	if ack, _ := s.Ask(add, fds...); !strings.Contains(ack.GetError(), "drains") {
		t.Errorf("the older proxy takes pods: %q", ack.GetError())
	}
	if ack, _ := s.Must(&pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Query{Query: &pb.QueryPod{Uid: "u1"}}}); ack.GetPod() == nil {
		t.Error("the older proxy does not answer for its connections any more")
	}
	for range 20 { // all of them reach the newer one
		resp, err := http.Get("http://" + next.cfg.ReadyAddr + "/healthz/ready")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Fatalf("status %d", resp.StatusCode)
		}
	}
	close(old.terminate)
	if err := old.end(); err != nil {
		t.Error(err)
	}
	if !next.isReady() {
		t.Error("the older proxy's end took the newer one's socket away")
	}
}

func TestCut(t *testing.T) {
	ca, _, dir, agent := newWorld(t)
	p := start(t, configOf(t, ca, dir, "good"))
	welcome(t, agent.Accept())
	p.cut()
	if err := p.end(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAddressInUseIsAnErrorThatNamesTheFlag(t *testing.T) {
	ca, _, dir, _ := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := configOf(t, ca, dir, "good")
	cfg.ReadyAddr = l.Addr().String()
	if err := start(t, cfg).end(); err == nil || !strings.Contains(err.Error(), "--ready-addr") {
		t.Errorf("got %v", err)
	}
}

func TestBadSnapshotIsAsGoodAsNone(t *testing.T) {
	ca, _, dir, agent := newWorld(t)
	if err := os.WriteFile(filepath.Join(dir, "ztunnel-snapshot"), []byte("ambit snapshot 1\nhalf"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, configOf(t, ca, dir, "good"))
	welcome(t, agent.Accept())
	eventually(t, "ready", p.isReady)
	if !strings.Contains(p.log.String(), "saved snapshot not used") {
		t.Error("not a word about it")
	}
}
