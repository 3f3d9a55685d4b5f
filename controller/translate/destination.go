package translate

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"
	istioapi "istio.io/api/networking/v1alpha3"
	networking "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/ambitmesh/ambit/internal/meshpb/ambit"
	"github.com/ambitmesh/ambit/internal/objects"
)

// Istio's defaults of an outlierDetection.
const (
	defaultFailures = 5
	defaultInterval = 10_000 // ms
	defaultEjection = 30_000 // ms
	defaultPercent  = 10
)

// readRule reads a DestinationRule. Of all that it may say only outlier detection is done at layer 4;
// the rest is listed.
func readRule(dr *networking.DestinationRule) *rule {
	ref := Ref{objects.DestinationRule, dr.Namespace, dr.Name}
	r := &reader{}
	out := &rule{key: key{dr.Namespace, dr.Name}, created: dr.CreationTimestamp.Time, host: fullHost(dr.Spec.Host, dr.Namespace),
		unused: dr.Spec.WorkloadSelector != nil, status: Status{Ref: ref, Accepted: true, EnforcedBy: ztunnel, Generation: dr.Generation}}
	if dr.Spec.Host == "" {
		r.fail("host", errors.New("empty"))
	}
	if d := dr.Spec.TrafficPolicy.GetOutlierDetection(); d != nil {
		out.outlier = r.outlier(d)
		out.outlier.From = fmt.Sprintf("%s %s/%s", ref.Kind, ref.Namespace, ref.Name)
	}
	out.status.Parts = append(unheeded(&dr.Spec), r.warnings...)
	switch {
	case len(r.errs) > 0:
		out.bad, out.outlier = true, nil
		out.why = oneLine(r.errs)
		out.status.Accepted, out.status.EnforcedBy, out.status.Message = false, "", out.why+"; no effect"
	case out.unused:
		out.status.EnforcedBy, out.status.Message = "", "workloadSelector is "+notSupported+": no effect"
	case out.outlier == nil:
		out.status.EnforcedBy, out.status.Message = "", "says nothing that is done at layer 4"
	}
	return out
}

// fullHost completes a name without a dot by the rule's namespace, as Istio does.
func fullHost(host, namespace string) string {
	if strings.Contains(host, ".") || strings.HasPrefix(host, "*") {
		return strings.ToLower(host)
	}
	return Hostname(namespace, strings.ToLower(host))
}

func (r *reader) outlier(d *istioapi.OutlierDetection) *ambit.Outlier {
	const at = "trafficPolicy.outlierDetection."
	out := &ambit.Outlier{
		ConsecutiveFailures: failures(d),
		IntervalMs:          r.millis(at+"interval", d.GetInterval(), defaultInterval),
		BaseEjectionMs:      r.millis(at+"baseEjectionTime", d.GetBaseEjectionTime(), defaultEjection),
		MaxEjectionPercent:  defaultPercent,
	}
	switch p := d.GetMaxEjectionPercent(); {
	case p < 0 || p > 100:
		r.fail(at+"maxEjectionPercent", fmt.Errorf("%d is no percentage", p))
	case p > 0:
		out.MaxEjectionPercent = uint32(p)
	}
	return out
}

func (r *reader) millis(path string, d *durationpb.Duration, def int64) int64 {
	if d == nil {
		return def
	}
	ms := d.AsDuration().Milliseconds()
	if d.CheckValid() != nil || ms < 1 {
		r.fail(path, fmt.Errorf("%v is no duration of at least 1 ms", d.AsDuration()))
	}
	return ms
}

// failures returns after how many failures in a row an endpoint is ejected; 0 for never. A failed
// connect counts for consecutive5xxErrors and consecutiveGatewayErrors alike, so the lower one decides.
// With splitExternalLocalOriginErrors it counts for consecutiveLocalOriginFailures alone.
func failures(d *istioapi.OutlierDetection) uint32 {
	if d.GetSplitExternalLocalOriginErrors() {
		if n := d.GetConsecutiveLocalOriginFailures(); n != nil {
			return n.GetValue()
		}
		return defaultFailures
	}
	n := uint32(defaultFailures)
	if v := d.GetConsecutive_5XxErrors(); v != nil {
		n = v.GetValue()
	}
	if g := d.GetConsecutiveGatewayErrors().GetValue(); g > 0 && (n == 0 || g < n) {
		n = g
	}
	return n
}
