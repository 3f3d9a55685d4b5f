package translate

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/ambitmesh/ambit/internal/meshpb/workload"
)

// PodInput is what a pod's workload depends on.
type PodInput struct {
	Pod      *corev1.Pod
	Node     *corev1.Node // nil if unknown
	Services map[string]*workload.PortList
	Policies []string // "namespace/name", sorted
	Captured bool     // a proxy serves the pod: it speaks HBONE
}

// Workload translates a pod. It returns nil for a pod that cannot be talked to: it has ended or has no address.
func (o Options) Workload(in PodInput) *workload.Workload {
	o = o.filled()
	p := in.Pod
	ips := podIPs(p)
	if ended(p) || len(ips) == 0 {
		return nil
	}
	w := &workload.Workload{
		Uid:                   o.UID(p.Namespace, p.Name),
		Name:                  p.Name,
		Namespace:             p.Namespace,
		TrustDomain:           elide(o.TrustDomain, defaultTrustDomain),
		ServiceAccount:        elide(p.Spec.ServiceAccountName, defaultAccount),
		Node:                  p.Spec.NodeName,
		ClusterId:             elide(o.ClusterID, defaultCluster),
		AuthorizationPolicies: in.Policies,
		Services:              in.Services,
		Locality:              locality(in.Node),
	}
	for _, ip := range ips {
		w.Addresses = append(w.Addresses, ip.AsSlice())
	}
	w.WorkloadName, w.WorkloadType = owner(p)
	w.CanonicalName, w.CanonicalRevision = canonical(p, w.WorkloadName)
	if !ready(p) {
		w.Status = workload.WorkloadStatus_UNHEALTHY
	}
	switch {
	case p.Spec.HostNetwork:
		w.NetworkMode = workload.NetworkMode_HOST_NETWORK
	case in.Captured:
		w.TunnelProtocol = workload.TunnelProtocol_HBONE
	}
	return w
}

// podIPs returns the pod's addresses; one that cannot be parsed, or be any pod's, is none.
func podIPs(p *corev1.Pod) []netip.Addr {
	var ips []netip.Addr
	add := func(s string) {
		if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
			if ip = ip.Unmap(); usable(ip) && !slices.Contains(ips, ip) {
				ips = append(ips, ip)
			}
		}
	}
	for _, ip := range p.Status.PodIPs {
		add(ip.IP)
	}
	if len(ips) == 0 {
		add(p.Status.PodIP)
	}
	return ips
}

// usable reports whether an address can be one pod's or service's in the mesh.
func usable(ip netip.Addr) bool {
	return !ip.IsUnspecified() && !ip.IsLoopback() && !ip.IsMulticast()
}

func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
}

// ready is the rule of Kubernetes: the Ready condition says so and the pod is not being deleted.
func ready(p *corev1.Pod) bool {
	if p.DeletionTimestamp != nil {
		return false
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func locality(n *corev1.Node) *workload.Locality {
	if n == nil {
		return nil
	}
	l := &workload.Locality{
		Region:  n.Labels[corev1.LabelTopologyRegion],
		Zone:    n.Labels[corev1.LabelTopologyZone],
		Subzone: n.Labels["topology.istio.io/subzone"],
	}
	if l.Region == "" && l.Zone == "" && l.Subzone == "" {
		return nil
	}
	return l
}

// owner returns the name and kind of the workload that made the pod, as metrics and dashboards name it.
func owner(p *corev1.Pod) (string, workload.WorkloadType) {
	for _, r := range p.OwnerReferences {
		if r.Controller == nil || !*r.Controller {
			continue
		}
		switch r.Kind {
		case "ReplicaSet": // <deployment>-<hash of the template>
			if name, ok := strings.CutSuffix(r.Name, "-"+p.Labels["pod-template-hash"]); ok {
				return name, workload.WorkloadType_DEPLOYMENT
			}
			return r.Name, workload.WorkloadType_DEPLOYMENT
		case "Job":
			return job(r.Name)
		}
		return r.Name, workload.WorkloadType_POD
	}
	return p.Name, workload.WorkloadType_POD
}

// job tells a CronJob's jobs by their name: <cron job>-<minutes since 1970>.
func job(name string) (string, workload.WorkloadType) {
	i := strings.LastIndexByte(name, '-')
	if i < 1 || len(name)-i-1 < 8 || strings.Trim(name[i+1:], "0123456789") != "" {
		return name, workload.WorkloadType_JOB
	}
	return name[:i], workload.WorkloadType_CRONJOB
}

func canonical(p *corev1.Pod, workloadName string) (name, revision string) {
	name = firstOf(p.Labels, workloadName, "service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
	revision = firstOf(p.Labels, "latest", "service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")
	return name, revision
}

func firstOf(labels map[string]string, def string, keys ...string) string {
	for _, k := range keys {
		if v := labels[k]; v != "" {
			return v
		}
	}
	return def
}
