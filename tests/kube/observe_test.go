package kube

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// line is what the workload's clients send, and get back, once a connection.
const line = "hello from the test, hello to the test\n"

// TestPrometheus: a real Prometheus that scrapes what the annotations say answers how many bytes went from
// workload to workload, exactly.
func TestPrometheus(t *testing.T) {
	ns := namespace(t, true)
	strict(t, ns)
	start(t, pod{namespace: ns, name: "web", node: nodeA}, pod{namespace: ns, name: "shop", node: nodeB}, pod{namespace: ns, name: "store", node: nodeA})
	service(t, ns, "shop")
	service(t, ns, "store")
	enrolled(t, ns, "web", "shop", "store")
	prometheus(t, targets(t))

	// Two nodes, one node, and a middle one that is both ends.
	want := map[string]float64{
		"web shop":   traffic(t, ns, "web", "shop:9090", "2s"),
		"shop store": traffic(t, ns, "shop", "store:9090", "1s"),
		"web store":  traffic(t, ns, "web", "store:9090", "500ms"),
	}
	for _, reporter := range []string{"source", "destination"} {
		for _, metric := range []string{"istio_tcp_received_bytes_total", "istio_tcp_sent_bytes_total"} {
			q := fmt.Sprintf(`sum by (source_workload, destination_workload) (%s{reporter=%q,source_workload_namespace=%q,destination_workload_namespace=%q})`, metric, reporter, ns, ns)
			awaitThat(t, 30*time.Second, metric+" as the "+reporter+" counts", func() error {
				got, err := pairs(t, q)
				if err == nil && fmt.Sprint(got) != fmt.Sprint(want) {
					err = fmt.Errorf("%v, not %v", got, want)
				}
				return err
			})
		}
	}
	t.Logf("bytes each way, as Prometheus answers: %v", want)
}

// traffic connects for a while and returns how many bytes that were each way.
func traffic(t *testing.T, ns, from, to, length string) float64 {
	t.Helper()
	answersTCP(t, ns, from, to)
	out, err := work(t, ns, from, "load", to, length)
	if err != nil {
		t.Fatalf("%s to %s: %v", from, to, err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(out, "connections=")))
	if err != nil || n == 0 {
		t.Fatalf("%s to %s: %q", from, to, out)
	}
	return float64((n + 1) * len(line))
}

// answersTCP makes one connection that is echoed. It must succeed at once: what fails would be counted too.
func answersTCP(t *testing.T, ns, from, to string) {
	t.Helper()
	if out, err := work(t, ns, from, "load", to, "1ms"); err != nil || out != "connections=1\n" {
		t.Fatalf("%s to %s: %q %v", from, to, out, err)
	}
}

type target struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// targets reads the annotations of the mesh's pods, as a Prometheus with the Kubernetes discovery does.
func targets(t *testing.T) (out []target) {
	t.Helper()
	var list struct {
		Items []struct {
			Metadata struct {
				Name                string
				Labels, Annotations map[string]string
			}
			Status struct{ PodIP string }
		}
	}
	raw := kubectl(t, "-n", "ambit-system", "get", "pods", "--field-selector", "status.phase=Running", "-o", "json")
	if err := json.Unmarshal([]byte(raw), &list); err != nil {
		t.Fatal(err)
	}
	parts := map[string]int{}
	for _, p := range list.Items {
		a := p.Metadata.Annotations
		if a["prometheus.io/scrape"] != "true" {
			continue
		}
		part := p.Metadata.Labels["app.kubernetes.io/name"]
		parts[part]++
		out = append(out, target{
			Targets: []string{net.JoinHostPort(p.Status.PodIP, a["prometheus.io/port"])},
			Labels:  map[string]string{"pod": p.Metadata.Name, "part": part, "__metrics_path__": cmp.Or(a["prometheus.io/path"], "/metrics")},
		})
	}
	if parts["ambit-agent"] != 2 || parts["ambit-ztunnel"] != 2 || parts["ambit-controller"] != 2 {
		t.Fatalf("pods that ask to be scraped: %v", parts)
	}
	return out
}

const promAddress = "127.0.0.1:19090"

// prometheus runs one in the control machine's network until the test ends, and waits until it has scraped
// all targets. Debian's is built without the Kubernetes discovery, so it reads them from a file.
func prometheus(t *testing.T, all []target) {
	t.Helper()
	exe, dir := prometheusProgram(t), t.TempDir()
	list, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	const config = "{global: {scrape_interval: 1s, scrape_timeout: 1s}, scrape_configs: [{job_name: ambit, file_sd_configs: [{files: [targets.json]}]}]}\n"
	for name, text := range map[string]string{"targets.json": string(list), "prometheus.yml": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := c.Control.EnterNet(exe, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+promAddress)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Log(tail(string(text), 3000))
		}
		_ = log.Close()
	})
	awaitThat(t, 40*time.Second, "a scrape of all", func() error {
		up, err := query(t, "up == 1")
		if err == nil && len(up) != len(all) {
			err = fmt.Errorf("%d of %d are up", len(up), len(all))
		}
		return err
	})
}

// prometheusProgram takes the machine's, or unpacks Debian's package where the cluster is: installed, it
// would run as a service of its own.
func prometheusProgram(t *testing.T) string {
	t.Helper()
	if exe, err := exec.LookPath("prometheus"); err == nil {
		return exe
	}
	dir := filepath.Join(c.Dir, "prometheus")
	const get = `mkdir -p "$1" && cd "$1" && chmod 755 . && { apt-get download -q prometheus || { apt-get update -q && apt-get download -q prometheus; }; } && dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb`
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", get, "sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("get Debian's prometheus: %v\n%s", err, out)
	}
	return filepath.Join(dir, "usr/bin/prometheus")
}

type sample struct {
	Metric map[string]string
	Value  [2]any // time, and the value as a string
}

func query(t *testing.T, q string) ([]sample, error) {
	t.Helper()
	out, err := c.Control.EnterNet(filepath.Join(c.Cache.Bin(), "work"), "get", "http://"+promAddress+"/api/v1/query?query="+url.QueryEscape(q)).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("query %s: %w: %s", q, err, out)
	}
	var answer struct{ Data struct{ Result []sample } }
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("query %s: %w: %s", q, err, out)
	}
	return answer.Data.Result, nil
}

// pairs asks for values by source and destination workload.
func pairs(t *testing.T, q string) (map[string]float64, error) {
	t.Helper()
	all, err := query(t, q)
	out := map[string]float64{}
	for _, s := range all {
		v, err := strconv.ParseFloat(fmt.Sprint(s.Value[1]), 64)
		if err != nil {
			return nil, err
		}
		out[s.Metric["source_workload"]+" "+s.Metric["destination_workload"]] = v
	}
	return out, err
}
