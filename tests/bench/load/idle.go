package load

import (
	"fmt"
	"io"
)

// idle opens connections that have each carried one byte and holds them until in ends.
func idle(addr string, conns int, in io.Reader, out io.Writer) error {
	p, err := newPoller()
	if err != nil {
		return err
	}
	defer p.close()
	fds, err := warm(p, addr, conns, make([]byte, 1), make([]byte, 16))
	defer closeAll(fds)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "READY")
	_, err = io.Copy(io.Discard, in)
	return err
}
