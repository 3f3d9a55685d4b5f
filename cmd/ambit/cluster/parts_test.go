package cluster

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestWhyAPartIsNotReady: a container that ends again and again says why at every moment.
func TestWhyAPartIsNotReady(t *testing.T) {
	end := &corev1.ContainerStateTerminated{ExitCode: 1, Message: "another mesh is on this node"}
	last := corev1.ContainerState{Terminated: end}
	const why = "ended with code 1 another mesh is on this node"
	for want, s := range map[string]corev1.ContainerStatus{
		why:                        {State: last},
		"CrashLoopBackOff: " + why: {State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off"}}, LastTerminationState: last},
		"runs again: " + why:       {State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, LastTerminationState: last},
		"containers are not ready": {State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
		"no such image":            {State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "no such image"}}},
	} {
		p := &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{s}, Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionFalse, Message: "containers are not ready"},
		}}}
		if got := whyNot(p); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
