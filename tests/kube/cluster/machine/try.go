package machine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const tryEnv = roleEnv + "_TRY"

// Try says why this host can run no machines: what it lacks of namespaces, mounts or cgroups. dir is empty
// and removed by the caller.
func Try(dir string) error {
	place := "ambit-kube-try-" + filepath.Base(dir)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), tryEnv+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWCGROUP,
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("try a machine of a cluster: %w: %s", err, strings.TrimSpace(string(out)))
	}
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		if err := os.Mkdir(filepath.Join(h.dir, place), 0o755); err != nil {
			return fmt.Errorf("make cgroup: %w", err)
		}
		if err := os.Remove(filepath.Join(h.dir, place)); err != nil {
			return fmt.Errorf("remove cgroup: %w", err)
		}
	}
	return nil
}

// tryMounts is what the process of Try does.
func tryMounts(dir string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep mounts from the host: %w", err)
	}
	if err := mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	if err := (Spec{}).mountSys(); err != nil {
		return err
	}
	return overlay("/etc", dir)
}
