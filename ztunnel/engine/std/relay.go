package std

import (
	"context"
	"errors"

	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
)

// relay copies both ways until both sides have ended, or one has broken or the flow was ended: then
// both legs are reset. It closes them.
func (f *flow) relay(to leg, header []hpack.HeaderField) outcome.End {
	stop := context.AfterFunc(f.ctx, func() { f.from.cut(); to.cut() })
	defer stop()
	if s, ok := f.from.(*streamLeg); ok {
		if err := s.Respond(200, header...); err != nil {
			f.cancel(outcome.Broken(outcome.Opener, err))
		}
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		f.copy(to, f.from, &counter{n: &f.rec.Sent}, outcome.Opener, outcome.Made)
	}()
	f.copy(f.from, to, &counter{n: &f.rec.Received, first: f.answered}, outcome.Made, outcome.Opener)
	<-sent
	if f.ctx.Err() != nil {
		f.from.cut()
		to.cut()
		return outcome.Of(f.ctx)
	}
	f.from.close()
	to.close()
	return outcome.End{}
}

// copy is one direction. Its end is passed on; its error ends the flow.
func (f *flow) copy(dst, src leg, w *counter, srcName, dstName string) {
	err := src.copyTo(dst, w)
	if err == nil {
		if err = dst.CloseWrite(); err != nil {
			err = &writeError{err}
		}
	}
	if err == nil {
		return
	}
	if _, ok := errors.AsType[*writeError](err); ok {
		srcName = dstName
	}
	f.cancel(outcome.Broken(srcName, err)) // of no effect if the flow was ended, and this is only the echo
}
