package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	authv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

const td = "cluster.local"

// tokenUntil is shaped as Kubernetes' tokens are; the fake API server below knows it by its text.
func tokenUntil(name string, end time.Time) string {
	body := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, end.Unix()))
	return name + "." + body + ".signature"
}

func call(token string) context.Context {
	ctx := peer.NewContext(context.Background(), &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 1}, AuthInfo: credentials.TLSInfo{}})
	return metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", "Bearer "+token))
}

// cluster is an API server that knows tokens.
type cluster struct {
	mu    sync.Mutex
	known map[string]authv1.TokenReviewStatus
	err   error
	asked int
}

func (c *cluster) client() *fake.Clientset {
	cs := fake.NewClientset()
	cs.PrependReactor("create", "tokenreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.asked++
		create, ok := a.(clienttesting.CreateAction)
		if !ok {
			return true, nil, errors.New("no create")
		}
		tr, ok := create.GetObject().(*authv1.TokenReview)
		if !ok {
			return true, nil, errors.New("no review")
		}
		out := tr.DeepCopy()
		out.Status = c.known[tr.Spec.Token]
		return true, out, c.err
	})
	return cs
}

func (c *cluster) set(token string, st authv1.TokenReviewStatus) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[token] = st
}

func good(account string, extra ...string) authv1.TokenReviewStatus {
	st := authv1.TokenReviewStatus{Authenticated: true, Audiences: []string{Audience}}
	st.User.Username = "system:serviceaccount:" + account
	st.User.Extra = map[string]authv1.ExtraValue{}
	for i := 0; i < len(extra); i += 2 {
		st.User.Extra[extra[i]] = authv1.ExtraValue{extra[i+1]}
	}
	return st
}

type world struct {
	*cluster
	*Authenticator

	now time.Time
}

func newWorld(mutate func(*AccountsConfig)) *world {
	w := &world{cluster: &cluster{known: map[string]authv1.TokenReviewStatus{}}, now: time.Now().Truncate(time.Second)}
	now := func() time.Time { return w.now }
	cfg := AccountsConfig{
		Reviewer: TokenReview{w.client().AuthenticationV1().TokenReviews()}, Now: now,
		Proxies: []Account{{"ambit-system", "ambit-ztunnel"}},
		NodeOf: func(namespace, pod, uid string) string {
			if namespace == "ambit-system" && pod == "ztunnel-x" && uid == "u1" {
				return "n3"
			}
			return ""
		},
	}
	if mutate != nil {
		mutate(&cfg)
	}
	w.Authenticator = &Authenticator{TrustDomain: td, Accounts: NewAccounts(cfg), Now: now}
	return w
}

func TestWhoATokenMakes(t *testing.T) {
	w := newWorld(nil)
	end := w.now.Add(time.Hour)
	foreign, bare := good("shop:web"), good("shop:web")
	foreign.Audiences = []string{"https://kubernetes.default.svc"}
	bare.Audiences = nil
	human := good("")
	human.User.Username = "admin"
	for name, tc := range map[string]struct {
		status authv1.TokenReviewStatus
		want   Caller
		err    error
	}{
		"proxy":              {good("ambit-system:ambit-ztunnel", podName, "ztunnel-a", podUID, "u0", nodeName, "n1"), Caller{URI: "spiffe://cluster.local/ns/ambit-system/sa/ambit-ztunnel", Node: "n1", Until: end}, nil},
		"proxy, old cluster": {good("ambit-system:ambit-ztunnel", podName, "ztunnel-x", podUID, "u1"), Caller{URI: "spiffe://cluster.local/ns/ambit-system/sa/ambit-ztunnel", Node: "n3", Until: end}, nil},
		"proxy, other pod":   {good("ambit-system:ambit-ztunnel", podName, "ztunnel-x", podUID, "u2"), Caller{URI: "spiffe://cluster.local/ns/ambit-system/sa/ambit-ztunnel", Until: end}, nil},
		"proxy, unbound":     {good("ambit-system:ambit-ztunnel"), Caller{URI: "spiffe://cluster.local/ns/ambit-system/sa/ambit-ztunnel", Until: end}, nil},
		"pod":                {good("shop:web", podName, "web", podUID, "u4", nodeName, "n1"), Caller{URI: "spiffe://cluster.local/ns/shop/sa/web", Until: end}, nil},
		"like a proxy":       {good("shop:ambit-ztunnel", nodeName, "n1"), Caller{URI: "spiffe://cluster.local/ns/shop/sa/ambit-ztunnel", Until: end}, nil},
		"other audience":     {foreign, Caller{}, ErrToken},
		"no audience":        {bare, Caller{}, ErrToken},
		"no account":         {human, Caller{}, ErrToken},
		"path in an account": {good("shop:a/b"), Caller{}, ErrToken},
		"unknown":            {authv1.TokenReviewStatus{Error: "no"}, Caller{}, ErrToken},
	} {
		token := tokenUntil(name, end)
		w.set(token, tc.status)
		got, err := w.Caller(call(token))
		if got != tc.want || !errors.Is(err, tc.err) || (err == nil) != (tc.err == nil) {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, err, tc.want, tc.err)
		}
	}
	for _, token := range []string{"", "ambit-0011223344556677-aa", "a.b", "a.b.c.d"} {
		if _, err := w.Caller(call(token)); !errors.Is(err, ErrNone) {
			t.Errorf("%q: %v", token, err)
		}
	}
	if _, err := w.Caller(call("a.%.c")); !errors.Is(err, ErrToken) {
		t.Errorf("unreadable: %v", err)
	}
}

func TestAnswersAreKeptAShortTime(t *testing.T) {
	w := newWorld(nil)
	token := tokenUntil("t", w.now.Add(40*time.Second))
	w.set(token, good("shop:web"))
	ask := func() error { _, err := w.Caller(call(token)); return err }
	for range 5 {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	if w.asked != 1 {
		t.Errorf("asked %d times", w.asked)
	}
	w.set(token, authv1.TokenReviewStatus{}) // its pod was deleted
	w.now = w.now.Add(31 * time.Second)
	if err := ask(); !errors.Is(err, ErrToken) || w.asked != 2 {
		t.Errorf("after 31 s: %v, asked %d times", err, w.asked)
	}
	w.set(token, good("shop:web"))
	w.now = w.now.Add(6 * time.Second)
	if err := ask(); err != nil || w.asked != 3 {
		t.Errorf("a refusal is kept too long: %v, asked %d times", err, w.asked)
	}
	w.now = w.now.Add(4 * time.Second) // the answer would be kept on, the token has ended
	if err := ask(); !errors.Is(err, ErrExpired) {
		t.Errorf("after its end: %v", err)
	}
}

func TestFloodsAndOutagesAreToldFromBadTokens(t *testing.T) {
	w := newWorld(func(c *AccountsConfig) { c.AskRate = 1 })
	w.err = errors.New("connection refused")
	if _, err := w.Caller(call(tokenUntil("a", w.now.Add(time.Hour)))); !errors.Is(err, ErrUnavailable) {
		t.Errorf("outage: %v", err)
	}
	w.err = nil
	var busy bool
	for i := range 20 {
		_, err := w.Caller(call(tokenUntil(fmt.Sprint(i), w.now.Add(time.Hour))))
		busy = busy || errors.Is(err, ErrBusy)
	}
	if !busy || w.asked > 12 {
		t.Errorf("a flood of bad tokens reached the API server %d times", w.asked)
	}
}

func FuzzEndOf(f *testing.F) {
	f.Add(tokenUntil("a", time.Unix(1, 0)))
	f.Add("a.e30.c")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		if end, err := endOf(token); err == nil && end.Unix() <= 0 {
			t.Errorf("%q ends %s", token, end)
		}
	})
}
