package report

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/ambitmesh/ambit/agent"
)

// The reasons of Events.
const (
	reasonFailed  = "AmbitEnrolmentFailed"
	reasonWaiting = "AmbitEnrolmentWaiting"
	reasonNote    = "AmbitNotHonoured"
)

// complain makes an Event of a pod that cannot be enrolled for some time, or of what it asks in vain.
func (w *Writer) complain(ctx context.Context, p agent.PodStatus, t *told) {
	reason, message := grievance(p)
	now := w.o.Now()
	if reason == "" || reason != reasonNote && now.Sub(p.Since) < stuckAfter {
		return
	}
	said := reason + ": " + message
	if said == t.said && now.Sub(t.saidT) < eventAgain || now.Before(t.next) {
		return
	}
	// One object for each thing said about a pod: an agent that restarts goes on counting.
	name := fmt.Sprintf("%.200s.%x", p.Name, sha256.Sum256([]byte(p.UID+"/"+said)))[:min(len(p.Name), 200)+17]
	err := w.call(ctx, "event", func(ctx context.Context) error {
		return w.api.event(ctx, p, event{name: name, reason: reason, message: message, at: now, from: w.o.Node})
	})
	if err != nil {
		w.o.Log.Warn("write event", "namespace", p.Namespace, "name", p.Name, "error", err)
		t.wait = min(max(2*t.wait, firstRetry), lastRetry)
		t.next = now.Add(t.wait)
		return
	}
	t.said, t.saidT = said, now
}

func grievance(p agent.PodStatus) (reason, message string) {
	switch {
	case p.Desired != agent.DesiredAmbient:
		return "", ""
	case p.Actual == agent.ActualFailed:
		return reasonFailed, "the pod cannot be enrolled in the mesh: " + p.Why
	case p.Actual == agent.ActualWaiting || p.Actual == agent.ActualEnrolling:
		return reasonWaiting, "the pod is not enrolled in the mesh yet: " + p.Why
	case len(p.Notes) > 0:
		return reasonNote, p.Notes[0]
	}
	return "", ""
}
