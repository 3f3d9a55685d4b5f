package poll

// Post has f called by the loop, from any goroutine. It reports false if the loop has ended.
func (l *Loop) Post(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.posted = append(l.posted, f)
	if !l.called {
		l.called = true
		one := [8]byte{1}
		_, _ = Write(l.wake, one[:]) // fails only if the counter is full, and then it is readable
	}
	return true
}

// waker handles the eventfd.
type waker Loop

// Ready calls what was posted until now.
func (w *waker) Ready(Events) {
	l := (*Loop)(w)
	l.Stir()
	var count [8]byte
	_, _ = Read(l.wake, count[:])
	l.mu.Lock()
	todo := l.posted
	l.posted, l.spare = l.spare[:0], nil
	l.called = false
	l.mu.Unlock()
	for i, f := range todo {
		todo[i] = nil
		f()
	}
	l.mu.Lock()
	l.spare = todo[:0]
	l.mu.Unlock()
}
