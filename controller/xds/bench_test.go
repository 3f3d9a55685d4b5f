package xds

import (
	"fmt"
	"math"
	"testing"
)

// BenchmarkChange is what one change costs a stream; it must not grow with the mesh.
func BenchmarkChange(b *testing.B) {
	for _, size := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			c := NewCache()
			all := make([]Resource, size)
			for i := range all {
				all[i] = address(b, fmt.Sprintf("c//Pod/a/%d", i), "1")
			}
			c.Apply(nil, Change{AddressType, all, nil})
			cur := c.attach(AddressType)
			c.first(AddressType, cur, nil, nil)
			one, two := address(b, "c//Pod/a/7", "2"), address(b, "c//Pod/a/7", "3")
			b.ReportAllocs()
			for b.Loop() {
				c.Apply(nil, Change{AddressType, []Resource{one}, nil})
				if n := len(c.next(AddressType, cur, nil, math.MaxUint64, 1<<30).resources); n != 1 {
					b.Fatalf("%d resources", n)
				}
				one, two = two, one
			}
		})
	}
}
