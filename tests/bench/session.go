package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

const driveVerb = "drive"

// inOwnSession runs the driver in a session of its own: where the kernel groups tasks by session, a
// priority counts only within it. The driver gets the signals that this process gets, and one if this
// process dies, so that it always cleans up.
func inOwnSession(args []string) int {
	runtime.LockOSThread() // the death signal is about the thread
	exe, err := os.Executable()
	if err != nil {
		return exit(fmt.Errorf("find this program: %w", err), os.Stderr)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	cmd := exec.Command(exe, append([]string{driveVerb}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return exit(fmt.Errorf("start the driver: %w", err), os.Stderr)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case <-signals:
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return exit(fmt.Errorf("stop the driver: %w", err), os.Stderr)
			}
		case err := <-ended:
			if x := (*exec.ExitError)(nil); err != nil && !errors.As(err, &x) {
				return exit(err, os.Stderr)
			}
			return max(cmd.ProcessState.ExitCode(), 0)
		}
	}
}

const slice = 100_000 // ns

// prioritize gives this process, and what it starts, a priority and short time slices: a wake-up then does
// not wait for other work of the machine. It returns in words what could not be had.
func prioritize(nice int) (missing []string) {
	if _, err := os.Stat("/proc/self/autogroup"); err == nil {
		if err := os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(nice)), 0); err != nil {
			missing = append(missing, "the session's priority: "+err.Error())
		}
	}
	err := eachThread(func(tid int) error {
		return unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: int32(nice), Runtime: slice}, 0)
	})
	if err != nil {
		missing = append(missing, "priority and slice: "+err.Error())
	}
	return missing
}

// eachThread calls f for all threads of this process, also for those that appear meanwhile: the programs
// that are started inherit from whichever thread starts them.
func eachThread(f func(tid int) error) error {
	done := map[string]bool{}
	for again := true; again; {
		again = false
		entries, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list threads: %w", err)
		}
		for _, e := range entries {
			if done[e.Name()] {
				continue
			}
			done[e.Name()], again = true, true
			tid, err := strconv.Atoi(e.Name())
			if err == nil {
				err = f(tid)
			}
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("thread %s: %w", e.Name(), err)
			}
		}
	}
	return nil
}
