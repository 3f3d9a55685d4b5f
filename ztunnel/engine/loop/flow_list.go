package loop

import "slices"

// flowList is flows in any order, each of which knows its place.
type flowList []registered

// registered is a flow with its record's number, which others may ask for while the flow is busy.
type registered struct {
	id uint64
	f  *flow
}

func (l *flowList) add(id uint64, f *flow) {
	f.seatAt = int32(len(*l))
	*l = append(*l, registered{id, f})
}

func (l *flowList) has(f *flow) bool { i := int(f.seatAt); return i < len(*l) && (*l)[i].f == f }

// smallList is how many places a list keeps in any case.
const smallList = 32

// remove has the last flow take the place of this one.
func (l *flowList) remove(f *flow) {
	if !l.has(f) {
		return
	}
	list := *l
	last := len(list) - 1
	list[f.seatAt] = list[last]
	list[f.seatAt].f.seatAt = f.seatAt
	list[last] = registered{}
	list = list[:last]
	if cap(list) > smallList && len(list) <= cap(list)/4 {
		list = append(make(flowList, 0, 2*len(list)), list...)
	}
	*l = list
}

func (l *flowList) get(id uint64) *flow {
	if i := slices.IndexFunc(*l, func(r registered) bool { return r.id == id }); i >= 0 {
		return (*l)[i].f
	}
	return nil
}

func (l *flowList) appendTo(to []*flow) []*flow {
	for _, r := range *l {
		to = append(to, r.f)
	}
	return to
}
