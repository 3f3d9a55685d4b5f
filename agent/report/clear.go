package report

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/ambitmesh/ambit/agent"
)

// Clear removes the annotation from a node's pods, once no agent is there to keep it true.
func Clear(ctx context.Context, cfg *rest.Config, node string) error {
	a, err := newAPI(cfg)
	if err != nil {
		return err
	}
	var pods corev1.PodList
	if err := a.client.Get().Resource("pods").Param("fieldSelector", "spec.nodeName="+node).Do(ctx).Into(&pods); err != nil {
		return err
	}
	var errs []error
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.Annotations[Annotation] == "" {
			continue
		}
		err := a.annotate(ctx, agent.PodStatus{Namespace: p.Namespace, Name: p.Name, UID: string(p.UID)}, false)
		if !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
