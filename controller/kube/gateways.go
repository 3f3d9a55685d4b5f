package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// GatewayController is how a GatewayClass names us.
const GatewayController = "ambit.dev/gateway-controller"

var (
	gatewayClasses = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gatewayclasses"}
	gateways       = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"}
)

// classes are ours by name, unless an object of that name gives another controller.
func classes() []string { return []string{"ambit", "ambit-waypoint"} }

const noGateways = "this version of Ambit has no gateways and waypoints: nothing listens, and traffic goes straight to the pods"

// Gateways tells users of Gateway API's objects that ask for us that nothing carries them out yet. One at a
// time may run in a cluster.
type Gateways struct {
	Client dynamic.Interface
	Log    *slog.Logger
	Now    func() time.Time
	Every  time.Duration // how often it looks; 0: 10 s
}

// Run looks until ctx ends.
func (g *Gateways) Run(ctx context.Context) {
	every := time.NewTicker(orDefault(g.Every, 10*time.Second))
	defer every.Stop()
	var trouble string
	for {
		if err := g.round(ctx); err == nil {
			trouble = ""
		} else if ctx.Err() == nil && err.Error() != trouble {
			g.Log.Warn("write status of gateways; it will be tried again", "error", err)
			trouble = err.Error()
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

func (g *Gateways) round(ctx context.Context) error {
	list, err := g.list(ctx, gatewayClasses)
	if err != nil {
		return err
	}
	var failed error
	ours := map[string]bool{}
	for _, name := range classes() {
		ours[name] = true
	}
	for i := range list {
		x := &list[i]
		controller, _, err := unstructured.NestedString(x.Object, "spec", "controllerName")
		if ours[x.GetName()] = err == nil && controller == GatewayController; ours[x.GetName()] {
			failed = errors.Join(failed, g.write(ctx, gatewayClasses, x, verdict{"False", "Unsupported", noGateways}, "Accepted"))
		}
	}
	return errors.Join(failed, g.gateways(ctx, ours))
}

// gateways judges the Gateways of these classes.
func (g *Gateways) gateways(ctx context.Context, ours map[string]bool) error {
	list, err := g.list(ctx, gateways)
	if err != nil {
		return err
	}
	var failed error
	for i := range list {
		class, _, err := unstructured.NestedString(list[i].Object, "spec", "gatewayClassName")
		if err == nil && ours[class] {
			failed = errors.Join(failed, g.write(ctx, gateways, &list[i], verdict{"False", "NotSupported", noGateways}, "Accepted", "Programmed"))
		}
	}
	return failed
}

// list returns a kind's objects; a kind that is not defined has none. The API server's cache is enough.
func (g *Gateways) list(ctx context.Context, kind schema.GroupVersionResource) ([]unstructured.Unstructured, error) {
	all, err := g.Client.Resource(kind).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", kind.Resource, err)
	}
	return all.Items, nil
}

// write gives an object's conditions of these kinds one verdict.
func (g *Gateways) write(ctx context.Context, gvr schema.GroupVersionResource, x *unstructured.Unstructured, v verdict, kinds ...string) error {
	all, differs := conditionsOf(x), false
	for _, kind := range kinds {
		var changed bool
		all, changed = merge(all, kind, v, x.GetGeneration(), g.Now())
		differs = differs || changed
	}
	if !differs {
		return nil
	}
	if err := patch(ctx, g.Client.Resource(gvr).Namespace(x.GetNamespace()), x, all); err != nil {
		return fmt.Errorf("%s %s/%s: %w", x.GetKind(), x.GetNamespace(), x.GetName(), err)
	}
	return nil
}
