package hbone

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

const (
	maxBaggage       = 8 * kib // W3C Baggage 3.3.2
	maxBaggageFields = 180     // as in the earlier drafts of W3C Baggage
	maxBaggageValue  = 253
)

// ErrBaggage is wrapped by ParseBaggage.
var ErrBaggage = errors.New("bad baggage")

// Baggage describes a workload to the other end, for metrics and logs. It is hearsay: never evidence.
type Baggage struct {
	Cluster        string
	Namespace      string
	WorkloadKind   string // "deployment", "cronjob", "pod" or "job"
	WorkloadName   string
	ServiceName    string
	ServiceVersion string
	Region, Zone   string
}

var workloadKinds = [...]string{"deployment", "cronjob", "pod", "job"}

// Format writes the header in the order and with the keys that Istio's proxies use; what is not known
// is left out.
func (b Baggage) Format() string {
	var out strings.Builder
	add := func(key, value string) {
		if value == "" {
			return
		}
		if out.Len() > 0 {
			out.WriteByte(',')
		}
		out.WriteString(key)
		out.WriteByte('=')
		out.WriteString(escapeBaggage(value))
	}
	add("k8s.cluster.name", b.Cluster)
	add("k8s.namespace.name", b.Namespace)
	if b.knownKind() {
		add("k8s."+b.WorkloadKind+".name", b.WorkloadName)
	}
	add("service.name", b.ServiceName)
	add("service.version", b.ServiceVersion)
	add("cloud.region", b.Region)
	add("cloud.availability_zone", b.Zone)
	return out.String()
}

func (b Baggage) knownKind() bool {
	for _, k := range workloadKinds {
		if b.WorkloadKind == k {
			return true
		}
	}
	return false
}

// ParseBaggage reads the header. Members that are malformed or of no meaning to the mesh are passed
// over, of several with one key the first counts; a header beyond W3C's limits is refused.
func ParseBaggage(s string) (Baggage, error) {
	var b Baggage
	if len(s) > maxBaggage {
		return b, fmt.Errorf("%w: %d bytes", ErrBaggage, len(s))
	}
	if n := strings.Count(s, ","); n >= maxBaggageFields {
		return b, fmt.Errorf("%w: %d members", ErrBaggage, n+1)
	}
	for member := range strings.SplitSeq(s, ",") {
		pair, _, _ := strings.Cut(member, ";") // properties mean nothing here
		key, value, ok := strings.Cut(pair, "=")
		value, valid := unescapeBaggage(strings.TrimSpace(value))
		if ok && valid {
			b.set(strings.TrimSpace(key), value)
		}
	}
	return b, nil
}

func (b *Baggage) set(key, value string) {
	switch key {
	case "k8s.cluster.name":
		setOnce(&b.Cluster, value)
	case "k8s.namespace.name":
		setOnce(&b.Namespace, value)
	case "service.name":
		setOnce(&b.ServiceName, value)
	case "service.version":
		setOnce(&b.ServiceVersion, value)
	case "cloud.region":
		setOnce(&b.Region, value)
	case "cloud.availability_zone":
		setOnce(&b.Zone, value)
	}
	for _, kind := range workloadKinds {
		if key == "k8s."+kind+".name" && b.WorkloadName == "" {
			b.WorkloadKind, b.WorkloadName = kind, value
		}
	}
}

// escapeBaggage percent-encodes what W3C Baggage does not allow in a value.
func escapeBaggage(v string) string {
	plain := func(c byte) bool {
		return c > ' ' && c < 0x7f && c != '"' && c != ',' && c != ';' && c != '\\' && c != '%'
	}
	var out strings.Builder
	for i := range len(v) {
		if plain(v[i]) {
			out.WriteByte(v[i])
		} else {
			fmt.Fprintf(&out, "%%%02X", v[i])
		}
	}
	return out.String()
}

// unescapeBaggage reports as valid what may become a metric's label: short, printable, UTF-8.
func unescapeBaggage(v string) (string, bool) {
	v, err := url.PathUnescape(v)
	if err != nil || v == "" || len(v) > maxBaggageValue || !utf8.ValidString(v) {
		return "", false
	}
	for _, r := range v {
		if r < ' ' || r == 0x7f {
			return "", false
		}
	}
	return v, true
}
