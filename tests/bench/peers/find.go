package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ambitmesh/ambit/tests/bench/peers/nft"
)

// Find returns the other proxies that can be measured here, and in words why others cannot. Debian's
// packages are unpacked below dir if the machine lacks them: nothing is installed, nothing is started.
func Find(ctx context.Context, dir string, env func(string) string) (tools []Tool, skipped []string) {
	find := func(t Tool, err error, name string) {
		if err != nil {
			skipped = append(skipped, name+": "+err.Error())
			return
		}
		tools = append(tools, t)
	}
	root, err := debian(ctx, dir)
	for _, name := range []string{"nginx", "haproxy"} {
		if err != nil {
			skipped = append(skipped, name+": "+err.Error())
			continue
		}
		t, err := unpacked(ctx, root, name)
		find(t, err, name)
	}
	if path := env("AMBIT_BENCH_ENVOY"); path != "" {
		t, err := versioned(ctx, Tool{Name: "envoy", path: path, write: writeEnvoy}, "--version")
		find(t, err, "envoy")
	} else {
		skipped = append(skipped, "envoy: AMBIT_BENCH_ENVOY names no program")
	}
	for _, x := range []struct {
		name, variable string
		kind           Kind
	}{{"ztunnel", "AMBIT_BENCH_ZTUNNEL", NodeProxy}, {"linkerd2-proxy", "AMBIT_BENCH_LINKERD", Sidecar}} {
		if env(x.variable) == "" {
			skipped = append(skipped, x.name+": "+x.variable+" names no program")
			continue
		}
		t, err := redirected(ctx, Tool{Name: x.name, Kind: x.kind, path: env(x.variable)}, env(x.variable+"_VERSION"))
		find(t, err, x.name)
	}
	return tools, skipped
}

// redirected is a proxy to which netfilter leads connections. said is its version, if it does not know it.
func redirected(ctx context.Context, t Tool, said string) (Tool, error) {
	if err := nft.Usable(); err != nil {
		return Tool{}, err
	}
	if _, err := exec.LookPath(t.path); err != nil {
		return Tool{}, fmt.Errorf("find %s: %w", t.Name, err)
	}
	if t.Kind != NodeProxy {
		t.Version = said
		return t, nil // it has no flags at all
	}
	b, err := output(ctx, t.path, "version")
	t.Version = built(string(b), said)
	return t, err
}

// built is the version in what one of Istio's programs says of itself. Where it was built without one, it is
// what the user says, or else the revision.
func built(text, said string) string {
	for _, re := range []*regexp.Regexp{build, istioBuild} {
		if m := re.FindStringSubmatch(text); m != nil && m[1] != "unknown" && m[1] != "" {
			return m[1]
		}
	}
	if said != "" {
		return said
	}
	if m := revision.FindStringSubmatch(text); m != nil && m[1] != "unknown" && m[1] != "" {
		return "of revision " + m[1]
	}
	return "unknown"
}

// debian returns the root directory below which the packages are: the machine's own or one below dir.
func debian(ctx context.Context, dir string) (string, error) {
	for _, root := range []string{"/", dir} {
		if complete(root) {
			return root, nil
		}
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return "", errors.New("not installed, and there is no apt-get to fetch it")
	}
	dir, err := filepath.Abs(dir) // apt-get takes others as below its own
	if err != nil {
		return "", fmt.Errorf("find directory for packages: %w", err)
	}
	archives := filepath.Join(dir, "archives")
	if err := os.MkdirAll(filepath.Join(archives, "partial"), 0o755); err != nil {
		return "", fmt.Errorf("make directory for packages: %w", err)
	}
	get := []string{"install", "-y", "--no-install-recommends", "--download-only", "--reinstall", "-o", "APT::Sandbox::User=root",
		"-o", "Dir::Cache::archives=" + archives, "nginx-light", "libnginx-mod-stream", "haproxy"}
	if _, err := output(ctx, "apt-get", get...); err != nil {
		if _, err := output(ctx, "apt-get", "update"); err != nil {
			return "", err
		}
		if _, err := output(ctx, "apt-get", get...); err != nil {
			return "", err
		}
	}
	debs, err := filepath.Glob(filepath.Join(archives, "*.deb"))
	if err != nil {
		return "", fmt.Errorf("list packages: %w", err)
	}
	for _, deb := range debs {
		if _, err := output(ctx, "dpkg", "-x", deb, dir); err != nil {
			return "", err
		}
	}
	if !complete(dir) {
		return "", fmt.Errorf("the %d packages that apt-get brought have it not", len(debs))
	}
	return dir, nil
}

const module = "usr/lib/nginx/modules/ngx_stream_module.so"

// complete says whether all is there that is needed.
func complete(root string) bool {
	for _, path := range []string{"usr/sbin/nginx", module, "usr/sbin/haproxy"} {
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			return false
		}
	}
	return true
}

func unpacked(ctx context.Context, root, name string) (Tool, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return Tool{}, fmt.Errorf("find %s: %w", name, err)
	}
	t := Tool{Name: name, path: filepath.Join(root, "usr/sbin", name)}
	if root != "/" {
		libs, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu*"))
		if err != nil {
			return Tool{}, fmt.Errorf("find libraries of %s: %w", name, err)
		}
		t.env = []string{"LD_LIBRARY_PATH=" + strings.Join(libs, ":")}
	}
	if name == "nginx" {
		t.module, t.write = filepath.Join(root, module), writeNginx
	} else {
		t.write = writeHaproxy
	}
	return versioned(ctx, t, "-v")
}

var version = regexp.MustCompile(`[0-9]+\.[0-9]+(\.[0-9]+)*`)

// build is where Istio's programs say their version; others' versions stand beside it.
var (
	build      = regexp.MustCompile(`[{ ]Version:"([^"]*)"`)
	istioBuild = regexp.MustCompile(`[{ ]IstioVersion:"([^"]*)"`)
	revision   = regexp.MustCompile(`[{ ]GitRevision:"([^"]*)"`)
)

func versioned(ctx context.Context, t Tool, flag string) (Tool, error) {
	cmd := exec.CommandContext(ctx, t.path, flag)
	cmd.Env = append(os.Environ(), t.env...)
	b, err := cmd.CombinedOutput()
	if err != nil {
		return Tool{}, fmt.Errorf("%s %s: %w: %s", t.path, flag, err, bytes.TrimSpace(b))
	}
	t.Version = version.FindString(string(b))
	return t, nil
}

func output(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	b, err := cmd.CombinedOutput()
	if err != nil {
		lines := strings.Split(string(bytes.TrimSpace(b)), "\n")
		return nil, fmt.Errorf("%s %s: %w: %s", name, args[0], err, lines[len(lines)-1])
	}
	return b, nil
}
