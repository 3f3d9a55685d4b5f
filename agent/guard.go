package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/agent/netns"
	"github.com/ambitmesh/ambit/bpf"
	"github.com/ambitmesh/ambit/internal/reason"
)

const (
	guardEvery  = time.Second
	sweepEvery  = 30 // rounds
	kubeletPort = 10250
	resetAtOnce = 1024 // connections of one listener in one round
)

// guard looks after what no event tells: proxies that stay away, cgroups without processes, pins of
// pods that are gone, and a kubelet that comes up later.
func (a *Agent) guard(ctx context.Context) {
	tick := time.NewTicker(guardEvery)
	defer tick.Stop()
	toSweep := 0
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		a.note("sweep proxies", a.proxies.sweep())
		if a.proxies.absent(a.cfg.Now()) >= a.cfg.ProxyAbsentAfter {
			a.resetQueues()
		}
		for _, p := range a.all() {
			p.pokeIfMoved()
		}
		if i%10 == 0 || a.probesMoved() {
			a.note("find probes", a.findProbes())
		}
		if toSweep--; toSweep <= 0 && a.Ready() && a.cfg.Now().Sub(a.started) > a.cfg.StrayAfter {
			toSweep = sweepEvery
			a.note("sweep stray pods", a.sweepStray())
		}
	}
}

func (a *Agent) note(what string, err error) {
	if err != nil {
		a.log.Warn(what, "error", err)
		a.events.add("errors", 1)
	}
}

// resetQueues answers what waits for a proxy that is not there: an error is better than a hang.
func (a *Agent) resetQueues() {
	for _, p := range a.all() {
		p.work.Lock()
		total := 0
		for _, fd := range p.queues() {
			n, err := netns.ResetQueue(fd, resetAtOnce)
			a.note("reset queue", err)
			total += n
		}
		p.work.Unlock()
		if total > 0 {
			a.events.add("reset_"+string(reason.ProxyAbsent), total)
			a.log.Warn("connections reset", "reason", reason.ProxyAbsent, "uid", p.uid, "count", total)
		}
	}
}

// findProbes tells the hooks whose connects are probes.
func (a *Agent) findProbes() error {
	set := bpf.Settings{HostCookie: a.host.Cookie, LegLimit: a.cfg.LegLimit}
	st := ProbeStatus{Mode: "off"}
	dir := a.cfg.ProbeCgroup
	switch dir {
	case "node":
		set.ProbeMode, st.Mode, st.Detail = bpf.ProbeNode, "node", "every process of the node's network namespace reaches enrolled pods unproxied"
		return a.setProbes(set, st)
	case "":
		pid, err := listenerPID(kubeletPort)
		if err != nil {
			st.Detail = "probes go through the proxy: " + err.Error()
			return a.setProbes(set, st)
		}
		if dir, err = a.cgroups.of(pid); err != nil {
			st.Detail = "probes go through the proxy: " + err.Error()
			return a.setProbes(set, st)
		}
	}
	dir, id, err := a.cgroups.below(dir)
	if err != nil {
		st.Detail = "probes go through the proxy: " + err.Error()
	} else {
		set.ProbeMode, set.ProbeCgroup, st.Mode, st.Cgroup = bpf.ProbeCgroup, id, "cgroup", dir
	}
	return a.setProbes(set, st)
}

// probesMoved says whether the cgroup of probes is another one by now: the kubelet was restarted.
func (a *Agent) probesMoved() bool {
	a.mu.Lock()
	dir, id := a.probes.Cgroup, a.probeID
	a.mu.Unlock()
	if dir == "" {
		return false
	}
	now, err := cgroupID(dir)
	return err != nil || now != id
}

func (a *Agent) setProbes(set bpf.Settings, st ProbeStatus) error {
	a.mu.Lock()
	changed := st != a.probes
	a.probes, a.probeID = st, set.ProbeCgroup
	a.mu.Unlock()
	if changed {
		a.log.Info("probes", "mode", st.Mode, "cgroup", st.Cgroup, "detail", st.Detail)
	}
	return a.mesh.SetSettings(set)
}

// sweepStray removes what is left of pods that are gone: an agent before us had them, or their release failed.
func (a *Agent) sweepStray() error {
	sweeper := &pod{uid: "(being removed)"}
	defer a.unclaim(sweeper)
	return removePods(a.mesh, func(cookie uint64) bool { return a.claimFree(sweeper, cookie) })
}

// mountBPFFS mounts a bpf file system at path unless there is one.
func mountBPFFS(path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	is, err := isBPFFS(path)
	if err != nil || is {
		return err
	}
	if err := unix.Mount("bpf", path, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return fmt.Errorf("mount bpffs at %s: %w", path, err)
	}
	return nil
}

// openSysctls makes /proc/sys writable for this process: container runtimes mount it read-only, and what
// is set there is set in pods' namespaces.
func openSysctls() error {
	const path = "/proc/sys"
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return fmt.Errorf("statfs %s: %w", path, err)
	}
	if st.Flags&unix.ST_RDONLY == 0 {
		return nil
	}
	const flags = unix.MS_REMOUNT | unix.MS_BIND | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("", path, "", flags, ""); err != nil {
		return fmt.Errorf("make %s writable: %w", path, err)
	}
	return nil
}

// removePods takes pods out whose cookie matches, as far as they can be found.
func removePods(m *bpf.Mesh, match func(cookie uint64) bool) error {
	pods, err := m.Pods()
	if err != nil {
		return err
	}
	at, err := m.Attached()
	if err != nil {
		return err
	}
	var errs []error
	for _, cookie := range at {
		if match(cookie) {
			errs = append(errs, m.Detach(cookie))
		}
	}
	for cookie, p := range pods {
		if match(cookie) {
			errs = append(errs, removePod(m, cookie, p))
		}
	}
	return errors.Join(errs...)
}

func removePod(m *bpf.Mesh, cookie uint64, p bpf.Pod) error {
	var errs []error
	for _, addr := range (netns.Addrs{V4: p.V4, V6: p.V6}).Valid() {
		if owner, ok, err := m.Owner(addr); err != nil || ok && owner == cookie {
			errs = append(errs, err, m.ForgetAddress(addr))
		}
	}
	if ns := netns.Find(p.Inode, cookie); ns != nil {
		errs = append(errs, ns.Deconfigure(netns.Sysctls(p.Saved)), ns.Close())
	}
	return errors.Join(append(errs, m.DeletePod(cookie))...)
}
