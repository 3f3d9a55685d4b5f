package mesh

import (
	"slices"
	"testing"
)

// A generation is told before anybody can see its snapshot, and only when there is a new one.
func TestPublishingIsToldFirst(t *testing.T) {
	var s *Store
	var told, seen []uint64
	s = NewStore(Options{Publishing: func(generation uint64) {
		told = append(told, generation)
		seen = append(seen, s.Snapshot().Generation())
	}})
	for _, u := range []Update{{AddressesComplete: true}, {PoliciesComplete: true}, {}, {RemovePolicy: []string{"shop/none"}}} {
		s.Apply(u)
	}
	if !slices.Equal(told, []uint64{1}) || !slices.Equal(seen, []uint64{0}) || s.Snapshot().Generation() != 1 {
		t.Errorf("told %v while %v was seen, now %d", told, seen, s.Snapshot().Generation())
	}
}
