package xds

import (
	"errors"
	"testing"
)

func TestBehind(t *testing.T) {
	for _, tc := range []struct {
		name       string
		here, seen Versions
		want       bool
	}{
		{"same", Versions{"Pod": 1}, Versions{"Pod": 1}, false},
		{"ahead", Versions{"Pod": 2}, Versions{"Pod": 1}, false},
		{"behind in one", Versions{"Pod": 2, "Node": 1}, Versions{"Pod": 1, "Node": 2}, true},
		{"nothing seen", Versions{"Pod": 2}, nil, false},
		{"a kind of another release", Versions{"Pod": 2}, Versions{"Gateway": 9}, false},
	} {
		if got := tc.here.Behind(tc.seen); got != tc.want {
			t.Errorf("%s: behind %v", tc.name, got)
		}
	}
}

func TestBadVersionsAreRefused(t *testing.T) {
	for _, s := range []string{"Pod", "Pod=", "Pod=x", "=1", "Pod=-1", "Pod=1,", "Pod=1,Pod=2", "Pod=99999999999999999999"} {
		if _, err := ParseVersions(s); !errors.Is(err, ErrBadVersions) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzParseVersions(f *testing.F) {
	for _, s := range []string{"", "Pod=1", "Node=2,Pod=18446744073709551615", "Pod=01", "a=1,a=1", "=,", "Pod=+1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseVersions(s)
		if err != nil {
			return
		}
		again, err := ParseVersions(v.String())
		if err != nil || again.Behind(v) || v.Behind(again) || len(again) != len(v) {
			t.Errorf("%q is read as %v, then as %v (%v)", s, v, again, err)
		}
	})
}
