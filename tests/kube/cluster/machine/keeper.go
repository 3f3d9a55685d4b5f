package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// keeper is the machine's first process: it keeps daemons running and reaps all that is left to it.
type keeper struct {
	spec Spec
	all  []*kept
}

type kept struct {
	Daemon
	pid   int
	ended time.Time
}

func newKeeper(s Spec) *keeper {
	k := &keeper{spec: s}
	for _, d := range s.Daemons {
		k.all = append(k.all, &kept{Daemon: d})
	}
	return k
}

// run never ends by itself: the host kills the machine. One goroutine starts and reaps, so that a
// process never ends before its pid is known.
func (k *keeper) run() error {
	for ; ; time.Sleep(50 * time.Millisecond) {
		k.reap()
		for _, d := range k.all {
			if err := k.tend(d); err != nil {
				return err
			}
		}
	}
}

func (k *keeper) reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if pid <= 0 || err != nil {
			return
		}
		for _, d := range k.all {
			if d.pid == pid {
				d.pid, d.ended = 0, time.Now()
				_ = os.Remove(k.pidFile(d)) // nobody can be told
			}
		}
	}
}

func (k *keeper) tend(d *kept) error {
	_, err := os.Stat(filepath.Join(k.spec.Dir, "hold", d.Name))
	held := err == nil
	switch {
	case held && d.pid != 0:
		return syscall.Kill(d.pid, syscall.SIGKILL)
	case !held && d.pid == 0 && time.Since(d.ended) > restartAfter:
		return k.start(d)
	}
	return nil
}

func (k *keeper) start(d *kept) error {
	log, err := os.OpenFile(filepath.Join(k.spec.Dir, "log", d.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	fmt.Fprintf(log, "--- %s start %s\n", time.Now().UTC().Format(time.RFC3339), d.Name)
	path, err := exec.LookPath(d.Args[0])
	if err != nil {
		return fmt.Errorf("find %s: %w", d.Name, err)
	}
	f := log.Fd()
	d.pid, err = syscall.ForkExec(path, d.Args, &syscall.ProcAttr{
		Dir: "/", Env: append(os.Environ(), d.Env...), Files: []uintptr{0, f, f}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		d.ended = time.Now()
		return fmt.Errorf("start %s: %w", d.Name, err)
	}
	if k.spec.Node != nil {
		if err := moveTo(d.Name, d.pid); err != nil {
			return fmt.Errorf("place %s: %w", d.Name, err)
		}
	}
	return os.WriteFile(k.pidFile(d), []byte(strconv.Itoa(d.pid)), 0o644)
}

func (k *keeper) pidFile(d *kept) string { return filepath.Join(k.spec.Dir, "pid", d.Name) }
