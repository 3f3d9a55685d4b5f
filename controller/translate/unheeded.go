package translate

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
	istioapi "istio.io/api/networking/v1alpha3"
)

// heeded says what is done with a field of a DestinationRule: false, its parts are looked at; true, it
// is honoured. What is not here is not honoured.
func heeded(path string, spec *istioapi.DestinationRule) (honoured, known bool) {
	d := spec.GetTrafficPolicy().GetOutlierDetection()
	switch path {
	case "trafficPolicy", "trafficPolicy.outlierDetection":
		return false, true
	case "trafficPolicy.loadBalancer":
		return false, true
	case "trafficPolicy.loadBalancer.simple":
		simple := spec.GetTrafficPolicy().GetLoadBalancer().GetSimple()
		return true, simple == istioapi.LoadBalancerSettings_LEAST_REQUEST || simple == istioapi.LoadBalancerSettings_UNSPECIFIED
	case "host", "trafficPolicy.outlierDetection.interval", "trafficPolicy.outlierDetection.baseEjectionTime",
		"trafficPolicy.outlierDetection.maxEjectionPercent", "trafficPolicy.outlierDetection.splitExternalLocalOriginErrors":
		return true, true
	case "trafficPolicy.outlierDetection.consecutive5xxErrors", "trafficPolicy.outlierDetection.consecutiveGatewayErrors":
		return true, !d.GetSplitExternalLocalOriginErrors()
	case "trafficPolicy.outlierDetection.consecutiveLocalOriginFailures":
		return true, d.GetSplitExternalLocalOriginErrors()
	}
	return false, false
}

// unheeded lists the fields of a DestinationRule that are set and not honoured, each with its path.
func unheeded(spec *istioapi.DestinationRule) []string {
	return unheededIn(spec.ProtoReflect(), "", spec)
}

func unheededIn(m protoreflect.Message, prefix string, spec *istioapi.DestinationRule) (parts []string) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		path := prefix + f.JSONName()
		switch honoured, known := heeded(path, spec); {
		case !known:
			parts = append(parts, path+": "+whyUnheeded(path))
		case !honoured:
			parts = append(parts, unheededIn(v.Message(), path+".", spec)...)
		}
		return true
	})
	slices.SortFunc(parts, cmp.Compare[string])
	return parts
}

func whyUnheeded(path string) string {
	switch path {
	case "exportTo":
		return "ignored: the rule counts for all clients of the service"
	case "trafficPolicy.outlierDetection.consecutive5xxErrors", "trafficPolicy.outlierDetection.consecutiveGatewayErrors":
		return "not honoured: with splitExternalLocalOriginErrors only consecutiveLocalOriginFailures counts at layer 4"
	case "trafficPolicy.outlierDetection.consecutiveLocalOriginFailures":
		return "not honoured without splitExternalLocalOriginErrors"
	case "trafficPolicy.outlierDetection.outlierDetectionHttpErrorCodes":
		return needsL7
	}
	return "not honoured: " + notSupported
}
