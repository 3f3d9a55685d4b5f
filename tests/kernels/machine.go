package kernels

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const qemu = "qemu-system-x86_64"

// haveQemu installs qemu if it is missing and can be installed.
func haveQemu(ctx context.Context) error {
	if _, err := exec.LookPath(qemu); err == nil {
		return nil
	}
	if os.Getuid() != 0 {
		return fmt.Errorf("%s is missing: apt-get install qemu-system-x86", qemu)
	}
	_, err := output(ctx, "", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-yq", "install", "--no-install-recommends", "qemu-system-x86")
	if err != nil {
		return fmt.Errorf("install qemu: %w", err)
	}
	return nil
}

// build compiles the init program and the tests, static.
func build(ctx context.Context, into string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for name, args := range map[string][]string{
		"init":             {"build", "-trimpath", "-o", filepath.Join(into, "init"), "./init"},
		"tests/agent.test": {"test", "-c", "-trimpath", "-o", filepath.Join(into, "agent.test"), "../../agent"},
		"tests/bpf.test":   {"test", "-c", "-trimpath", "-o", filepath.Join(into, "bpf.test"), "../../bpf"},
	} {
		if _, err := output(ctx, "", "env", append([]string{"CGO_ENABLED=0", "GOARCH=amd64", "go"}, args...)...); err != nil {
			return nil, err
		}
		b, err := os.ReadFile(filepath.Join(into, filepath.Base(name)))
		if err != nil {
			return nil, err
		}
		files[name] = b
	}
	return files, nil
}

// initramfs writes the archive that the kernel starts from.
func initramfs(path string, files map[string][]byte, modules []module) error {
	var a archive
	var order []string
	for _, m := range modules {
		a.add("modules/"+m.name, m.code)
		order = append(order, m.name)
	}
	a.add("modules/order", []byte(strings.Join(order, "\n")))
	for name, content := range files {
		a.add(name, content)
	}
	for _, dir := range []string{"proc", "sys", "dev", "tmp"} {
		a.entry(dir, modeDir, nil)
	}
	var z bytes.Buffer
	w, err := gzip.NewWriterLevel(&z, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if _, err := w.Write(a.bytes()); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, z.Bytes(), 0o600)
}

// boot runs a machine until it ends; its console goes to out.
func boot(ctx context.Context, image, ramfs string, out io.Writer) error {
	cmd := exec.CommandContext(ctx, qemu, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048",
		"-nographic", "-no-reboot", "-nic", "none", "-kernel", image, "-initrd", ramfs,
		"-append", "console=ttyS0 quiet panic=-1 lsm=lockdown,capability,bpf")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil || ctx.Err() != nil {
		return fmt.Errorf("run %s: %w", qemu, errors.Join(err, ctx.Err()))
	}
	return nil
}
