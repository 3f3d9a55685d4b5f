package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const controllerSocket = "controller.sock"

// controllerStatus is the part of the controller's /status that is shown.
type controllerStatus struct {
	Version  string         `json:"version"`
	Objects  []objectStatus `json:"objects"`
	Problems []problem      `json:"problems"`
	Error    string         `json:"error,omitempty"` // the controller did not answer
}

// objectStatus says what became of an object that its user wrote.
type objectStatus struct {
	Kind       string   `json:"kind"`
	Namespace  string   `json:"namespace"`
	Name       string   `json:"name"`
	Accepted   bool     `json:"accepted"`
	EnforcedBy string   `json:"enforcedBy"`
	Message    string   `json:"message"`
	Parts      []string `json:"parts"`
}

// problem is something of the source that was refused.
type problem struct {
	File      string `json:"file"`
	Document  int    `json:"document"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Reason    string `json:"reason"`
	Standing  string `json:"standing"` // what is in force instead: "", "previous" or "closed"
}

// controller asks the controller of this machine; nil if there is none.
func (o *options) controller(ctx context.Context) *controllerStatus {
	if o.inCluster() {
		return o.clusterController(ctx)
	}
	dir := o.controllerDir
	if dir == "" {
		dir = o.labController(ctx)
	}
	if _, err := os.Stat(filepath.Join(dir, controllerSocket)); err != nil && o.controllerDir == "" {
		return nil
	}
	s, err := get[controllerStatus](ctx, socket("controller", dir, controllerSocket), "/status", nil)
	if err != nil {
		s.Error = err.Error()
	}
	return &s
}

// labController is where the chosen nodes' controller keeps its state: the lab's, else this machine's.
func (o *options) labController(ctx context.Context) string {
	nodes, err := o.nodes(ctx)
	if err == nil && len(nodes) > 0 && strings.HasPrefix(nodes[0].Dir, labDir+"/") {
		return filepath.Join(nodes[0].Dir, "..", "..", "..", "controller")
	}
	return defaultStateDir
}

// table lists what is not as its user wrote it; a mesh with nothing to say gets no table.
func (s *controllerStatus) table(w io.Writer) error {
	if s == nil {
		return nil
	}
	fmt.Fprintln(w)
	if s.Error != "" {
		fmt.Fprintln(w, "controller down:", s.Error)
		if len(s.Objects) == 0 {
			return nil
		}
		fmt.Fprintln(w, "what follows is written on the objects, and may be old")
	}
	t := newTable(w, "OBJECT", "ACCEPTED", "ENFORCED BY", "MESSAGE")
	for _, x := range s.Objects {
		if x.ordinary() {
			continue
		}
		t.row(fmt.Sprintf("%s %s/%s", x.Kind, x.Namespace, x.Name), yes(x.Accepted), x.EnforcedBy, x.words())
	}
	for _, p := range s.Problems {
		t.row(p.place(), "no", "", p.words())
	}
	return t.flush()
}

// ordinary says that there is nothing to tell: pods and services are many and mostly just there.
func (x objectStatus) ordinary() bool {
	return (x.Kind == "Pod" || x.Kind == "Service" || x.Kind == "EndpointSlice") && x.Accepted && len(x.Parts) == 0
}

func (x objectStatus) words() string {
	var all []string
	for _, s := range append([]string{x.Message}, x.Parts...) {
		if s != "" {
			all = append(all, s)
		}
	}
	return strings.Join(all, "; ")
}

func (p problem) place() string {
	s := p.File
	if p.Document > 0 {
		s += fmt.Sprintf(" #%d", p.Document)
	}
	if p.Name != "" {
		s += fmt.Sprintf(" (%s %s/%s)", p.Kind, p.Namespace, p.Name)
	}
	return s
}

func (p problem) words() string {
	switch p.Standing {
	case "previous":
		return p.Reason + "; the last good version stays in force"
	case "closed":
		return p.Reason + "; until it is mended, nothing that it selects is allowed"
	}
	return p.Reason
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
