package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
)

// Errors of Load.
var (
	// ErrLocked says that another process has loaded the same instance.
	ErrLocked = errors.New("another agent runs with this instance")
	// ErrIncompatible says that pinned maps have another layout than this build's.
	ErrIncompatible = errors.New("pinned maps have another layout: un-enrol by running cleanup, then start again")
)

// Options say where to load.
type Options struct {
	BPFFS    string // a mounted bpf file system
	Instance string // names the pins; two instances do not see each other
	Cgroup   string // directory of the cgroup2 hierarchy whose processes are hooked
}

// Mesh is the loaded programs and maps of one instance. Its methods may be called concurrently.
type Mesh struct {
	dir   string
	lock  *os.File
	obj   meshObjects
	links []link.Link
	ended *ringbuf.Reader // nil: EndedFlows has not been called
}

// hooks are the programs of the node, in the order in which they are attached: sockops before the
// connect hooks, so that no verdict goes unrecorded.
func (m *Mesh) hooks() []hook {
	return []hook{
		{"link_sockops", ebpf.AttachCGroupSockOps, m.obj.AmbitSockops},
		{"link_connect4", ebpf.AttachCGroupInet4Connect, m.obj.AmbitConnect4},
		{"link_connect6", ebpf.AttachCGroupInet6Connect, m.obj.AmbitConnect6},
		{"link_peername4", ebpf.AttachCgroupInet4GetPeername, m.obj.AmbitPeername4},
		{"link_peername6", ebpf.AttachCgroupInet6GetPeername, m.obj.AmbitPeername6},
	}
}

type hook struct {
	pin  string
	at   ebpf.AttachType
	prog *ebpf.Program
}

// Load takes over the instance's pins, or makes them. The instance is locked until Close.
func Load(o Options) (*Mesh, error) {
	if err := checkInstance(o.Instance); err != nil {
		return nil, err
	}
	root := filepath.Join(o.BPFFS, "ambit")
	if err := os.Mkdir(root, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make pin directory %s: %w", root, err)
	}
	setup, err := lock(root, true) // one instance is set up at a time
	if err != nil {
		return nil, err
	}
	defer setup.Close()
	m := &Mesh{dir: filepath.Join(root, o.Instance)}
	if err := m.load(o); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *Mesh) load(o Options) error {
	if err := sweepUnfinished(m.dir); err != nil {
		return err
	}
	_, err := os.Stat(m.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return m.create(o)
	}
	if err != nil {
		return fmt.Errorf("look for pins %s: %w", m.dir, err)
	}
	if m.lock, err = lock(m.dir, false); err != nil {
		return err
	}
	return m.adopt(o)
}

// create makes the pins in a directory beside and renames it: the instance's directory is complete
// or absent, and a crash leaves hooks that know no pod.
func (m *Mesh) create(o Options) error {
	tmp := fmt.Sprintf("%s%s%d", m.dir, unfinished, os.Getpid())
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return fmt.Errorf("make pin directory %s: %w", tmp, err)
	}
	err := m.fill(tmp, o)
	if err == nil {
		err = os.Rename(tmp, m.dir)
	}
	if err == nil {
		m.lock, err = lock(m.dir, false)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("create pins %s: %w", m.dir, err), os.RemoveAll(tmp))
	}
	return nil
}

func (m *Mesh) fill(dir string, o Options) error {
	if err := m.loadObjects(dir); err != nil {
		return err
	}
	for _, h := range m.hooks() {
		if err := m.attachHook(dir, o.Cgroup, h); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mesh) attachHook(dir, cgroup string, h hook) error {
	l, err := link.AttachCgroup(link.CgroupOptions{Path: cgroup, Attach: h.at, Program: h.prog})
	if err != nil {
		return fmt.Errorf("attach %s to cgroup %s (another tool attached exclusively, or not a cgroup2): %w", h.pin, cgroup, err)
	}
	m.links = append(m.links, l)
	pin := filepath.Join(dir, h.pin)
	if err := l.Pin(pin + newPin); err != nil {
		return fmt.Errorf("pin %s: %w", h.pin, err)
	}
	if err := os.Rename(pin+newPin, pin); err != nil {
		return fmt.Errorf("place pin %s: %w", h.pin, err)
	}
	return nil
}

const newPin = "_new"

// adopt reuses pinned maps and puts this build's programs into the pinned links.
func (m *Mesh) adopt(o Options) error {
	if err := m.loadObjects(m.dir); err != nil {
		return err
	}
	for _, h := range m.hooks() {
		if err := m.adoptHook(o.Cgroup, h); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mesh) adoptHook(cgroup string, h hook) error {
	l, err := link.LoadPinnedLink(filepath.Join(m.dir, h.pin), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return m.attachHook(m.dir, cgroup, h)
	}
	if err != nil {
		return fmt.Errorf("open pinned %s: %w", h.pin, err)
	}
	there, err := isAt(l, cgroup)
	if err != nil || !there {
		// Another root was asked for, or the old one was removed: a new link first, then it takes the old one's pin.
		return errors.Join(err, m.attachHook(m.dir, cgroup, h), l.Close())
	}
	m.links = append(m.links, l)
	if err := replace(l, h.prog); err != nil {
		return fmt.Errorf("replace program of %s: %w", h.pin, err)
	}
	return nil
}

// isAt says whether a link is attached to this cgroup.
func isAt(l link.Link, cgroup string) (bool, error) {
	info, err := l.Info()
	if err != nil {
		return false, fmt.Errorf("info of link: %w", err)
	}
	st, err := os.Stat(cgroup)
	if err != nil {
		return false, fmt.Errorf("find cgroup: %w", err)
	}
	at := info.Cgroup()
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && at != nil && at.CgroupId == sys.Ino, nil
}

// replace puts prog into a pinned link if it is another program than the one there.
func replace(l link.Link, prog *ebpf.Program) error {
	info, err := l.Info()
	if err != nil {
		return err
	}
	want, err := prog.Info()
	if err != nil {
		return err
	}
	old, err := ebpf.NewProgramFromID(info.Program)
	if err == nil {
		defer old.Close()
		if have, err := old.Info(); err == nil && have.Tag == want.Tag && sameMaps(have, want) {
			return nil
		}
	}
	return l.Update(prog)
}

// sameMaps says whether two programs use the same maps: the tag does not tell, and a pin may have been lost.
func sameMaps(a, b *ebpf.ProgramInfo) bool {
	x, ok := a.MapIDs()
	y, ok2 := b.MapIDs()
	slices.Sort(x)
	slices.Sort(y)
	return ok && ok2 && slices.Equal(x, y)
}

func (m *Mesh) loadObjects(dir string) error {
	spec, err := loadMesh()
	if err != nil {
		return fmt.Errorf("read embedded object: %w", err)
	}
	for _, s := range spec.Maps {
		s.Pinning = ebpf.PinByName
	}
	err = spec.LoadAndAssign(&m.obj, &ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: dir}})
	if errors.Is(err, ebpf.ErrMapIncompatible) {
		return fmt.Errorf("%w: %w", ErrIncompatible, err)
	}
	if err != nil {
		return fmt.Errorf("load programs and maps: %w", err)
	}
	return nil
}

// Close gives up this process's handles and the lock. Everything stays pinned and at work.
func (m *Mesh) Close() error {
	var errs []error
	if m.ended != nil {
		errs = append(errs, m.ended.Close())
	}
	for _, l := range m.links {
		errs = append(errs, l.Close())
	}
	errs = append(errs, m.obj.Close())
	if m.lock != nil {
		errs = append(errs, m.lock.Close())
	}
	return errors.Join(errs...)
}

func checkInstance(s string) error {
	if s == "" || len(s) > 64 || strings.Contains(s, unfinished) {
		return fmt.Errorf("instance %q: want 1 to 64 characters without %q", s, unfinished)
	}
	for _, r := range s {
		switch {
		case r == '-', r == '_', r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z':
		default:
			return fmt.Errorf("instance %q: want letters, digits, - and _ only", s)
		}
	}
	return nil
}
