package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"

	authv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	client "k8s.io/client-go/kubernetes/typed/authentication/v1"
)

// Audience is whom tokens are made for: Istio's word, so that one volume serves both.
const Audience = "istio-ca"

// Where Kubernetes writes what a token is bound to.
const (
	podName  = "authentication.kubernetes.io/pod-name"
	podUID   = "authentication.kubernetes.io/pod-uid"
	nodeName = "authentication.kubernetes.io/node-name"
)

// ErrToken says that the cluster does not know a token, or not for this audience.
var ErrToken = errors.New("token is not good")

// Reviewer asks the cluster about a token.
type Reviewer interface {
	// Review wraps ErrToken if the token is no good; any other error says that nobody could be asked.
	Review(ctx context.Context, token string) (Review, error)
}

// TokenReview asks by the API server's TokenReview.
type TokenReview struct{ Client client.TokenReviewInterface }

// Review implements Reviewer.
func (t TokenReview) Review(ctx context.Context, token string) (Review, error) {
	end, err := endOf(token)
	if err != nil {
		return Review{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	got, err := t.Client.Create(ctx, &authv1.TokenReview{Spec: authv1.TokenReviewSpec{Token: token, Audiences: []string{Audience}}}, metav1.CreateOptions{})
	if err != nil {
		return Review{}, fmt.Errorf("review token: %w", err)
	}
	st := got.Status
	switch {
	case !st.Authenticated:
		return Review{}, fmt.Errorf("%w: %s", ErrToken, st.Error)
	case !slices.Contains(st.Audiences, Audience): // an authenticator that does not look at audiences names none
		return Review{}, fmt.Errorf("%w: its audiences %q are not ours", ErrToken, st.Audiences)
	}
	account, err := accountOf(st.User.Username)
	if err != nil {
		return Review{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	return Review{Account: account, Until: end,
		Pod: extra(st.User, podName), PodUID: extra(st.User, podUID), Node: extra(st.User, nodeName)}, nil
}

func extra(u authv1.UserInfo, name string) string {
	if v := u.Extra[name]; len(v) == 1 {
		return v[0]
	}
	return ""
}
