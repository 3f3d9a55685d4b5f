package xds

import (
	"strings"
	"time"

	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
)

const (
	maxDetail   = 4096 // bytes of a refusal that are kept
	maxRefusals = 256  // of one type on one stream
)

// noteRefusals keeps what a proxy refused, until the resource is sent again or removed. A proxy applies the
// other resources of the response, so nothing is sent again before it changes.
func (w *watch) noteRefusals(f *flight, req *discovery.DeltaDiscoveryRequest, now time.Time) {
	for _, name := range f.names {
		delete(w.nacks, name)
	}
	for _, name := range f.removed {
		delete(w.nacks, name)
	}
	if req.GetErrorDetail() == nil {
		return
	}
	detail := clip(req.GetErrorDetail().GetMessage(), maxDetail)
	names := mentioned(f.names, detail)
	if len(names) == 0 {
		names = []string{""} // which ones the proxy does not say
	}
	for _, name := range names {
		if len(w.nacks) < maxRefusals {
			w.nacks[name] = Refusal{Type: w.typeURL, Resource: name, Detail: detail, At: now}
		}
	}
}

// mentioned returns the resources that the text names.
func mentioned(names []string, text string) (out []string) {
	if len(names) == 1 {
		return names
	}
	for _, n := range names {
		if strings.Contains(text, n) {
			out = append(out, n)
		}
	}
	return out
}

func clip(s string, n int) string {
	return strings.ToValidUTF8(s[:min(len(s), n)], "?")
}
