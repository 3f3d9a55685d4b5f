package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// PodStatus is what the agent says of a pod.
type PodStatus struct {
	Namespace, Name, UID string
	Desired, Actual, Why string
	Notes                []string
}

// AgentStatus is what the lab reads of the agent's status.
type AgentStatus struct {
	Pods    []PodStatus
	Proxies []struct {
		PID    int
		Active bool
	}
	Counters map[string]uint64
}

// AgentStatus asks the agent.
func (n *Node) AgentStatus(ctx context.Context) (AgentStatus, error) {
	var s AgentStatus
	b, err := n.GetAgent(ctx, "/status")
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("decode status of %s: %w", n.Name, err)
	}
	return s, nil
}

// Status is what the agent of the pod's node says of it.
func (p *Pod) Status(ctx context.Context) (PodStatus, error) {
	s, err := p.Node.AgentStatus(ctx)
	if err != nil {
		return PodStatus{}, err
	}
	for _, x := range s.Pods {
		if x.UID == p.UID {
			return x, nil
		}
	}
	return PodStatus{}, fmt.Errorf("the agent of %s does not know pod %s", p.Node.Name, p.FullName())
}

// WaitActual waits until all pods are in one of the states that the agent calls actual.
func WaitActual(ctx context.Context, actual string, pods ...*Pod) error {
	for _, p := range pods {
		err := Eventually(ctx, func(ctx context.Context) error {
			s, err := p.Status(ctx)
			if err == nil && s.Actual != actual {
				err = fmt.Errorf("pod %s is %s (%s), want %s", p.FullName(), s.Actual, s.Why, actual)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// WaitEnrolled waits until all pods are enrolled.
func WaitEnrolled(ctx context.Context, pods ...*Pod) error {
	return WaitActual(ctx, "enrolled", pods...)
}

// WaitPlain waits until nothing of the mesh is left in the pods.
func WaitPlain(ctx context.Context, pods ...*Pod) error { return WaitActual(ctx, "plain", pods...) }

// Eventually tries until f returns nil, or ctx ends: then it returns f's last error.
func Eventually(ctx context.Context, f func(context.Context) error) error {
	var last error
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil { // the end itself says less than what was wrong before
			last = err
		}
		select {
		case <-ctx.Done():
			return errors.Join(last, ctx.Err())
		case <-time.After(30 * time.Millisecond):
		}
	}
}
