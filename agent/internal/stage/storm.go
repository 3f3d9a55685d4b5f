package stage

import (
	"fmt"
	"sync"
	"time"
)

// Tally is what a storm saw.
type Tally struct {
	OK     int
	Failed []string // at most 20
	Slow   time.Duration
}

// storm connects, speaks and closes without pause.
type storm struct {
	stop chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	tally Tally
}

// StormStart runs two loops of connections until StormStop.
func (b *Box) StormStart(d Dial, id *int) error {
	s := &storm{stop: make(chan struct{})}
	for range 2 {
		s.done.Go(func() { s.run(d) })
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	*id = b.next
	b.storms[*id] = s
	return nil
}

// StormStop ends it.
func (b *Box) StormStop(id int, t *Tally) error {
	b.mu.Lock()
	s := b.storms[id]
	delete(b.storms, id)
	b.mu.Unlock()
	if s == nil {
		return fmt.Errorf("no storm %d", id)
	}
	close(s.stop)
	s.done.Wait()
	*t = s.tally
	return nil
}

func (s *storm) run(d Dial) {
	for {
		select {
		case <-s.stop:
			return
		default:
		}
		begin := time.Now()
		err := once(d)
		s.note(err, time.Since(begin))
	}
}

func once(d Dial) error {
	var r Conn
	c, err := open(d, &r)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.ping()
}

func (s *storm) note(err error, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally.Slow = max(s.tally.Slow, took)
	if err == nil {
		s.tally.OK++
	} else if len(s.tally.Failed) < 20 {
		s.tally.Failed = append(s.tally.Failed, fmt.Sprintf("%s after %d good ones: %v", time.Now().Format("05.000"), s.tally.OK, err))
	}
}
