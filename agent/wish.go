package agent

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxExcluded bounds the ports that one pod may keep out of capture.
const maxExcluded = 32

const hbonePort = 15008

// wish is what labels and annotations ask for one pod.
type wish struct {
	desired  Desired
	why      string // of the desire
	excluded []uint16
	notes    []string // what is asked and not honoured
}

func wishOf(v View, p Pod) wish {
	ns := v.Namespaces[p.Namespace]
	w := wish{desired: DesiredNone}
	mode, from := p.Labels[labelMode], "pod"
	if mode == "" {
		mode, from = ns.Labels[labelMode], "namespace"
	}
	switch {
	case p.Finished:
		w.why = "the pod has finished"
	case p.HostNetwork:
		w.why = "host network: the node's own namespace is never captured"
	case mode == "ambient":
		w.desired, w.why = DesiredAmbient, from+" label"
	case mode == "none":
		w.why = from + " label"
	case mode == "":
		w.why = "no label"
	default:
		w.why = fmt.Sprintf("%s label %s=%s is neither ambient nor none", from, labelMode, clip(mode))
	}
	if list, ok := p.Annotations[annotationExclude]; ok && w.desired == DesiredAmbient {
		w.exclude(ns, list, func(port uint16) bool { return v.strict(p, port) })
	}
	return w
}

// Ambient lists the namespaces whose pods are in the mesh unless they say otherwise.
func (v View) Ambient() []string {
	var out []string
	for name, ns := range v.Namespaces {
		if ns.Labels[labelMode] == "ambient" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// exclude takes the annotation only if the namespace allows it: else a pod's author could take the
// pod out of the namespace's policy. Under STRICT it is void.
func (w *wish) exclude(ns Namespace, list string, strict func(port uint16) bool) {
	if ns.Annotations[annotationAllowExclude] != "true" {
		w.notes = append(w.notes, annotationExclude+" is not honoured: the namespace does not allow it")
		return
	}
	for f := range strings.SplitSeq(list, ",") {
		port, err := strconv.ParseUint(strings.TrimSpace(f), 10, 16)
		switch {
		case err != nil || port == 0:
			w.notes = append(w.notes, fmt.Sprintf("%s: %q is not a port", annotationExclude, clip(f)))
		case port == hbonePort:
			w.notes = append(w.notes, annotationExclude+": 15008 is the mesh's own")
		case slices.Contains(w.excluded, uint16(port)):
		case strict(uint16(port)):
			w.notes = append(w.notes, fmt.Sprintf("%s: port %d is not excluded: mutual TLS is STRICT there", annotationExclude, port))
		default:
			w.excluded = append(w.excluded, uint16(port))
		}
		if len(w.notes)+len(w.excluded) >= maxExcluded {
			w.notes = append(w.notes, fmt.Sprintf("%s: the rest of the list is ignored after %d entries", annotationExclude, maxExcluded))
			break
		}
	}
	slices.Sort(w.excluded)
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}
