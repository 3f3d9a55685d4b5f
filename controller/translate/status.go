package translate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ambitmesh/ambit/internal/objects"
)

// Ref names an object.
type Ref struct {
	Kind      objects.Kind `json:"kind"`
	Namespace string       `json:"namespace,omitempty"`
	Name      string       `json:"name"`
}

// String returns the name as it is written in messages.
func (r Ref) String() string {
	return fmt.Sprintf("%s %s/%s", r.Kind, r.Namespace, r.Name)
}

func compareRefs(a, b Ref) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// Status says what became of an object that its user wrote.
type Status struct {
	Ref
	Accepted   bool     `json:"accepted"`             // it was understood
	EnforcedBy string   `json:"enforcedBy,omitempty"` // "ztunnel", or "" for nobody
	Message    string   `json:"message,omitempty"`
	Generation int64    `json:"generation,omitempty"` // of the object that this is about; 0: it has none
	Parts      []string `json:"parts,omitempty"`      // what is not done as written, each with its path and why
}

// The words for what cannot be done.
const (
	ztunnel      = "ztunnel"
	needsL7      = "refused: needs layer 7, no waypoint"
	notSupported = "not supported yet"

	previousStays = "; the previous version stays in force"
)

// maxWhy is how many errors or parts are named where there may be any number.
const maxWhy = 16

// oneLine joins errors as a status shows them.
func oneLine(errs []error) string {
	var all []string
	for _, err := range errs {
		all = append(all, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return strings.ToValidUTF8(strings.Join(someOf(all), "; "), "?")
}

func someOf(all []string) []string {
	if len(all) <= maxWhy {
		return all
	}
	return append(slices.Clone(all[:maxWhy]), fmt.Sprintf("and %d more", len(all)-maxWhy))
}
