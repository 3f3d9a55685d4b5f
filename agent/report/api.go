package report

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/ambitmesh/ambit/agent"
)

// api makes the agent's three calls.
type api struct{ client rest.Interface }

func newAPI(cfg *rest.Config) (*api, error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("core kinds: %w", err)
	}
	own := rest.CopyConfig(cfg)
	gv := corev1.SchemeGroupVersion
	own.APIPath, own.GroupVersion = "/api", &gv
	own.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	own.QPS = -1 // the writer has its own limit
	c, err := rest.RESTClientFor(own)
	if err != nil {
		return nil, fmt.Errorf("client of %s: %w", cfg.Host, err)
	}
	return &api{c}, nil
}

// annotate sets or removes the annotation of exactly this pod: the uid makes it a conflict for another.
func (a *api) annotate(ctx context.Context, p agent.PodStatus, on bool) error {
	var value any
	if on {
		value = Enabled
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": p.UID, "annotations": map[string]any{Annotation: value},
	}})
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	return a.client.Patch(types.MergePatchType).Namespace(p.Namespace).Resource("pods").Name(p.Name).
		SubResource("status").Body(patch).Do(ctx).Error()
}

type event struct {
	name, reason, message string
	from                  string // the node
	at                    time.Time
}

// event makes an Event, or renews one that is there.
func (a *api) event(ctx context.Context, p agent.PodStatus, e event) error {
	at := metav1.NewTime(e.at)
	err := a.client.Post().Namespace(p.Namespace).Resource("events").Body(&corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: e.name},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: types.UID(p.UID),
		},
		Type: corev1.EventTypeWarning, Reason: e.reason, Message: e.message,
		Source:         corev1.EventSource{Component: "ambit-agent", Host: e.from},
		FirstTimestamp: at, LastTimestamp: at, Count: 1,
		ReportingController: "ambit.dev/ambit-agent", ReportingInstance: e.from,
	}).Do(ctx).Error()
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	patch, err := json.Marshal(map[string]any{"lastTimestamp": at})
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	return a.client.Patch(types.MergePatchType).Namespace(p.Namespace).Resource("events").Name(e.name).Body(patch).Do(ctx).Error()
}
