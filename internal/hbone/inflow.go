package hbone

// creditConn gives the peer credit on the connection when enough of it is used up. mu is held.
func (c *conn) creditConn() {
	if c.err != nil {
		return
	}
	if grant := c.inflow.Grant(); grant > 0 {
		_ = c.fr.WriteWindowUpdate(0, uint32(grant))
		c.wake()
	}
}

// credit gives the peer credit on the stream once half its window is used up and read. mu is held.
func (s *Stream) credit() {
	c := s.c
	if s.remoteEnd || s.gone || s.closed {
		return
	}
	grant, grew := c.inflow.Refill(&s.flow)
	if grew {
		c.probe()
		c.creditConn()
	}
	if grant > 0 {
		_ = c.fr.WriteWindowUpdate(s.id, uint32(grant))
		c.wake()
	}
}
