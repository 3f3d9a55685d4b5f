package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

// GatewayController is how a GatewayClass names us, and how the status of Gateway API's objects tells our
// entries from others'.
const GatewayController = "ambit.dev/gateway-controller"

// Reasons that Gateway API does not have: none of its own says that a controller lacks a whole feature.
const (
	unsupported  = "Unsupported"  // of a GatewayClass: its own word
	notSupported = "NotSupported" // of everything else
)

// Gateways tells users of Gateway API's objects that concern us that nothing carries them out yet. One at a
// time may run in a cluster.
type Gateways struct {
	Client  dynamic.Interface
	Log     *slog.Logger
	Now     func() time.Time
	Version string        // of Ambit, for the messages
	Every   time.Duration // how often it looks; 0: 10 s
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
			g.Log.Warn("write status of gateways and routes; it will be tried again", "error", err)
			trouble = err.Error()
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// look is one round through all kinds. A kind that cannot be listed ends what depends on it: to take
// unknown for absent would remove entries. A write that fails ends nothing.
type look struct {
	*Gateways
	failed []error // writes
}

func (g *Gateways) round(ctx context.Context) error {
	l := &look{Gateways: g}
	err := l.all(ctx)
	return errors.Join(append(l.failed, err)...)
}

func (l *look) all(ctx context.Context) error {
	classes, err := l.classes(ctx)
	if err != nil {
		return err
	}
	our, err := l.parents(ctx, classes)
	if err != nil {
		return err
	}
	used, err := l.routes(ctx, our)
	if err != nil {
		return err
	}
	return l.policies(ctx, used)
}

// says is a message that names the version.
func (l *look) says(format string) string { return fmt.Sprintf(format, "Ambit "+l.Version) }

const noGateways = "%s has no gateways and waypoints: nothing listens, and traffic goes straight to the pods"

// classes judges the GatewayClasses of ours and returns their names: two by themselves, unless an object of
// that name gives another controller.
func (l *look) classes(ctx context.Context) (map[string]bool, error) {
	our := map[string]bool{"ambit": true, "ambit-waypoint": true}
	all, err := l.list(ctx, gatewayClasses)
	for _, x := range all {
		controller, _, err := unstructured.NestedString(x.Object, "spec", "controllerName")
		our[x.GetName()] = err == nil && controller == GatewayController
		if our[x.GetName()] {
			l.judge(ctx, x, condition{"Accepted", verdict{"False", unsupported, l.says(noGateways)}})
		}
	}
	return our, err
}
