package report

import (
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine says where, when and how figures were measured.
type Machine struct {
	Date     string            `json:"date"`
	Ambit    string            `json:"ambit"`
	Go       string            `json:"go"`
	Kernel   string            `json:"kernel"`
	System   string            `json:"system"`
	TCP      string            `json:"tcp"` // the system's congestion control, which all namespaces inherit
	CPU      string            `json:"cpu"`
	CPUs     [2][]int          `json:"cpus"` // of the near and of the far machine
	MemoryGB float64           `json:"memory_gb"`
	Load     string            `json:"load"` // of the machine before the run: 1, 5 and 15 minutes
	Rounds   int               `json:"rounds"`
	Each     string            `json:"each"`
	Quick    bool              `json:"quick"`
	Took     string            `json:"took"`
	Chains   map[string]string `json:"chains"`
	Skipped  []string          `json:"skipped"`
	Missing  []string          `json:"missing"` // what could not be set
	Failures []string          `json:"failures"`
}

// ThisMachine describes what it can read; what it cannot stays empty.
func ThisMachine() Machine {
	m := Machine{Date: time.Now().UTC().Format("2006-01-02 15:04 MST"), Go: runtime.Version(),
		CPU: value("/proc/cpuinfo", "model name", ":"), System: strings.Trim(value("/etc/os-release", "PRETTY_NAME", "="), `"`)}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) == nil {
		m.MemoryGB = round3(float64(s.Totalram) * float64(s.Unit) / (1 << 30))
	}
	if b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control"); err == nil {
		m.TCP = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = strings.Join(strings.Fields(string(b))[:3], " ")
	}
	return m
}

// value is that of the first line "name SEP value" of a file.
func value(path, name, sep string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, sep); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
