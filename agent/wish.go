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

func wishOf(ns Namespace, p Pod) wish {
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
		w.exclude(ns, list)
	}
	return w
}

// exclude takes the annotation only if the namespace allows it: else a pod's author could take the
// pod out of the namespace's policy.
func (w *wish) exclude(ns Namespace, list string) {
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
