package resident

import "runtime"

// Tidy collects if an eighth of the heap or more may be garbage. It is for while a crowd of lasting objects is
// being made: what it takes to make them lies between them, and the less of it there is at a time, the fewer
// holes it leaves.
func Tidy() {
	var h heap
	if h.look().untidy() {
		runtime.GC()
	}
}

func (h *heap) untidy() bool {
	dead := less(h.objects, h.live)
	return dead > worth && dead > h.live/8
}
