package objects

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	security "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/ambitmesh/ambit/internal/objects/fakeapi"
)

const (
	podsPath     = "/api/v1/pods"
	nsPath       = "/api/v1/namespaces"
	policiesPath = "/apis/security.istio.io/v1/authorizationpolicies"
	oldPolicies  = "/apis/security.istio.io/v1beta1/authorizationpolicies"
)

// cluster is a fake API server with informers of three kinds.
type cluster struct {
	*testing.T
	api        *fakeapi.Server
	src        *APIServer
	pods       Lister[*corev1.Pod]
	namespaces Lister[*corev1.Namespace]
	policies   Lister[*security.AuthorizationPolicy]

	mu   sync.Mutex
	told []string // every event that a consumer of pods got
}

func runCluster(t *testing.T, o APIOptions, api *fakeapi.Server) *cluster {
	t.Helper()
	c := &cluster{T: t, api: api}
	o.Kinds = []Kind{Pod, Namespace, AuthorizationPolicy}
	o.LookAgain, o.GoneAfter = 50*time.Millisecond, 50*time.Millisecond
	var err error
	if c.src, err = NewAPIServer(api.Config(), o); err != nil {
		t.Fatal(err)
	}
	pods := informerOf[*corev1.Pod](c, Pod)
	namespaces := informerOf[*corev1.Namespace](c, Namespace)
	policies := informerOf[*security.AuthorizationPolicy](c, AuthorizationPolicy)
	c.pods, c.namespaces, c.policies = ListerOf[*corev1.Pod](pods), ListerOf[*corev1.Namespace](namespaces), ListerOf[*security.AuthorizationPolicy](policies)
	if _, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { c.tell("add", o) },
		UpdateFunc: func(was, o any) {
			if was.(*corev1.Pod).ResourceVersion != o.(*corev1.Pod).ResourceVersion { // else it was only listed again
				c.tell("update", o)
			}
		},
		DeleteFunc: func(o any) { c.tell("delete", o) },
	}); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	var wg sync.WaitGroup
	for _, inf := range []cache.SharedIndexInformer{pods, namespaces, policies} {
		wg.Go(func() { inf.RunWithContext(ctx) })
	}
	wg.Go(func() { _ = c.src.Run(ctx) })
	t.Cleanup(wg.Wait) // t.Context ends before
	if !cache.WaitForCacheSync(ctx.Done(), pods.HasSynced, namespaces.HasSynced, policies.HasSynced) {
		t.Fatal("not synced")
	}
	return c
}

func informerOf[T Object](c *cluster, k Kind) cache.SharedIndexInformer {
	inf, err := Informer[T](c.src, k)
	if err != nil {
		c.Fatal(err)
	}
	return inf
}

func (c *cluster) tell(what string, o any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	if p, ok := o.(*corev1.Pod); ok {
		c.told = append(c.told, what+" "+p.Name)
	}
}

func (c *cluster) toldAll() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string{}, c.told...)
}

func (c *cluster) until(what string, ok func() bool) {
	c.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.Fatalf("never: %s; problems: %v; told: %v", what, c.src.Problems(), c.toldAll())
		}
	}
}

func (c *cluster) hasPod(name string) bool { _, ok := c.pods.Get("shop", name); return ok }

func apiPod(name, node string) string {
	return fmt.Sprintf("metadata: {name: %s, namespace: shop, labels: {app: %s}, managedFields: [{manager: x}]}\nspec: {nodeName: %s}\n", name, name, node)
}

func TestAPIServerIsFollowed(t *testing.T) {
	api := fakeapi.New(t, podsPath, nsPath, policiesPath)
	api.Put(podsPath, apiPod("a", "n1"))
	api.Put(podsPath, apiPod("far", "n2"))
	api.Put(nsPath, "metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}\nspec: {finalizers: [kubernetes]}\n")
	c := runCluster(t, APIOptions{Node: "n1"}, api)
	if !c.hasPod("a") || c.hasPod("far") {
		t.Fatalf("pods at first: %v", c.pods.List())
	}
	if p, _ := c.pods.Get("shop", "a"); p.ManagedFields != nil || p.Labels["app"] != "a" {
		t.Errorf("pod %+v", p)
	}
	if ns, ok := c.namespaces.Get("", "shop"); !ok || ns.Labels["istio.io/dataplane-mode"] != "ambient" {
		t.Errorf("namespace %+v", ns)
	}
	api.Put(podsPath, apiPod("b", "n1"))
	c.until("a new pod is seen", func() bool { return c.hasPod("b") })
	api.Delete(podsPath, "shop", "a")
	c.until("a removed pod is gone", func() bool { return !c.hasPod("a") })
	c.until("the deletion's version counts", func() bool { return c.src.Generation(Pod) == uint64(api.Version()) })
	for _, call := range api.Calls() {
		if strings.Contains(call, "pods") && !strings.Contains(call, "fieldSelector=spec.nodeName%3Dn1") {
			t.Errorf("asked for pods of other nodes: %s", call)
		}
	}
}

// TestAPIServerAway: nothing changes, and afterwards watches go on where they were.
func TestAPIServerAway(t *testing.T) {
	api := fakeapi.New(t, podsPath, nsPath, policiesPath)
	for i := range 20 {
		api.Put(podsPath, apiPod(fmt.Sprintf("p%d", i), "n1"))
	}
	c := runCluster(t, APIOptions{Node: "n1"}, api)
	c.until("consumers hear of all", func() bool { return len(c.toldAll()) == 20 })
	api.Away(true)
	c.until("the outage is reported", func() bool {
		return len(c.src.Problems()) == 3 && c.src.Problems()[0].Standing == "previous"
	})
	if len(c.pods.List()) != 20 || len(c.toldAll()) != 20 {
		t.Errorf("changed while away: %v", c.toldAll())
	}
	before := len(api.Calls())
	api.Put(podsPath, apiPod("late", "n1"))
	api.Away(false)
	c.until("the change is seen", func() bool { return c.hasPod("late") })
	c.until("the end is reported", func() bool { return len(c.src.Problems()) == 0 })
	c.until("consumers hear of it", func() bool { return len(c.toldAll()) > 20 })
	if told := c.toldAll(); len(told) != 21 || told[20] != "add late" {
		t.Errorf("told %v", told)
	}
	for _, call := range api.Calls()[before:] {
		if !strings.Contains(call, "watch=") {
			t.Errorf("listed again: %s", call)
		}
	}
}

// TestHistoryIsForgotten: the informer lists again, and consumers hear only of what changed.
func TestHistoryIsForgotten(t *testing.T) {
	api := fakeapi.New(t, podsPath, nsPath, policiesPath)
	api.Put(podsPath, apiPod("a", "n1"))
	api.Put(podsPath, apiPod("b", "n1"))
	c := runCluster(t, APIOptions{}, api)
	c.until("consumers hear of both", func() bool { return len(c.toldAll()) == 2 })
	api.Away(true)
	api.Delete(podsPath, "shop", "b")
	api.Put(podsPath, apiPod("c", "n1"))
	api.Forget()
	c.until("the new one is seen", func() bool { return c.hasPod("c") && !c.hasPod("b") })
	c.until("consumers hear of both changes", func() bool { return len(c.toldAll()) == 4 })
	for _, told := range c.toldAll()[2:] {
		if told != "add c" && told != "delete b" {
			t.Errorf("told %q again", told)
		}
	}
}

// TestAPIPolicyThatCannotBeRead: first closed, then good, then the good one stays.
func TestAPIPolicyThatCannotBeRead(t *testing.T) {
	bad := strings.Replace(goodPolicy, "methods", "method", 1)
	api := fakeapi.New(t, podsPath, nsPath, policiesPath)
	v := api.Put(policiesPath, bad)
	c := runCluster(t, APIOptions{}, api)
	p, ok := c.policies.Get("shop", "payments")
	if !ok || p.Annotations[UnreadableAnnotation] == "" || p.ResourceVersion != v || p.UID == "" {
		t.Fatalf("stand-in %+v", p)
	}
	if got := c.src.Problems(); len(got) != 1 || got[0].Standing != "closed" || !strings.Contains(got[0].Reason, "operation.method") {
		t.Errorf("problems %v", got)
	}
	api.Put(policiesPath, goodPolicy)
	c.until("the repaired policy is served", func() bool {
		p, ok := c.policies.Get("shop", "payments")
		return ok && p.Annotations[UnreadableAnnotation] == "" && len(p.Spec.Rules) == 1 && len(c.src.Problems()) == 0
	})
	v = api.Put(policiesPath, bad)
	c.until("the good version stands at the new version", func() bool {
		p, ok := c.policies.Get("shop", "payments")
		return ok && p.ResourceVersion == v && len(p.Spec.Rules) == 1
	})
	if got := c.src.Problems(); len(got) != 1 || got[0].Standing != "previous" {
		t.Errorf("problems %v", got)
	}
	api.Delete(policiesPath, "shop", "payments")
	c.until("it is gone with its problem", func() bool { return len(c.policies.List()) == 0 && len(c.src.Problems()) == 0 })
}

// TestUnknownMetadataIsNoProblem: the API server has checked it, and may be newer.
func TestUnknownMetadataIsNoProblem(t *testing.T) {
	api := fakeapi.New(t, podsPath, nsPath, policiesPath)
	api.Put(policiesPath, strings.Replace(goodPolicy, "metadata: {", "status: {x: 1}\nmetadata: {novelty: 1, ", 1))
	c := runCluster(t, APIOptions{}, api)
	if p, ok := c.policies.Get("shop", "payments"); !ok || p.Annotations[UnreadableAnnotation] != "" {
		t.Errorf("%+v, problems %v", p, c.src.Problems())
	}
}

func TestKindThatIsNotInstalled(t *testing.T) {
	api := fakeapi.New(t, podsPath, nsPath)
	c := runCluster(t, APIOptions{}, api)
	if got := c.policies.List(); len(got) != 0 {
		t.Fatal(got)
	}
	api.Serve(oldPolicies, true) // an older definition
	api.Put(oldPolicies, strings.Replace(goodPolicy, "security.istio.io/v1\n", "security.istio.io/v1beta1\n", 1))
	has := func() bool { _, ok := c.policies.Get("shop", "payments"); return ok }
	c.until("the kind is found", has)
	api.Serve(oldPolicies, false)
	c.until("a definition that stays away takes its objects along", func() bool { return !has() })
}

// TestNotFoundAtStart: an API server that starts may not know a kind yet.
func TestNotFoundAtStart(t *testing.T) {
	api := fakeapi.New(t, podsPath, nsPath, policiesPath)
	api.Put(policiesPath, goodPolicy)
	now := time.Now() // the clock stands: the kind is never missing for long enough
	c := runCluster(t, APIOptions{Now: func() time.Time { return now }}, api)
	api.Serve(policiesPath, false)
	before := len(api.Calls())
	c.until("it was asked for some times", func() bool { return len(api.Calls()) > before+4 })
	if len(c.policies.List()) != 1 {
		t.Error("the policy fell")
	}
	api.Serve(policiesPath, true)
	v := api.Put(policiesPath, goodPolicy)
	c.until("it is followed again", func() bool { p, ok := c.policies.Get("shop", "payments"); return ok && p.ResourceVersion == v })
}

func TestRefusedByTheAPIServer(t *testing.T) {
	api := fakeapi.New(t, podsPath, nsPath, policiesPath)
	c := runCluster(t, APIOptions{}, api)
	api.Fail(func(r *http.Request) int {
		if strings.Contains(r.URL.Path, "pods") {
			return http.StatusForbidden
		}
		return 0
	})
	api.Away(false) // cuts the watches
	c.until("it is reported", func() bool { return len(c.src.Problems()) == 1 && c.src.Problems()[0].Kind == Pod })
	api.Fail(nil)
	api.Put(podsPath, apiPod("a", "n1"))
	c.until("it is followed again", func() bool { return c.hasPod("a") })
}

func TestGenerationOfAPI(t *testing.T) {
	api := fakeapi.New(t, podsPath, nsPath, policiesPath)
	c := runCluster(t, APIOptions{}, api)
	if got := c.src.Generation(Pod); got != uint64(api.Version()) {
		t.Errorf("generation %d of an empty list at %d", got, api.Version())
	}
	v, err := strconv.ParseUint(api.Put(podsPath, apiPod("a", "n1")), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	c.until("it rises", func() bool { return c.src.Generation(Pod) == v })
	if c.src.Generation("Unknown") != 0 || c.src.Generation(Service) != 0 {
		t.Error("a kind that is not read has a generation")
	}
	if _, err := c.src.ListerWatcher(Service); err == nil {
		t.Error("a kind that is not read is served")
	}
}
