package auth

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Account is a service account.
type Account struct{ Namespace, Name string }

// ParseAccount reads namespace/name.
func ParseAccount(s string) (Account, error) {
	namespace, name, _ := strings.Cut(s, "/")
	a := Account{namespace, name}
	if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return Account{}, fmt.Errorf("%q is not <namespace>/<service account>", s)
	}
	return a, nil
}

// String is the inverse of ParseAccount.
func (a Account) String() string { return a.Namespace + "/" + a.Name }

// userPrefix begins the name that Kubernetes gives to service accounts.
const userPrefix = "system:serviceaccount:"

func accountOf(user string) (Account, error) {
	rest, ok := strings.CutPrefix(user, userPrefix)
	namespace, name, two := strings.Cut(rest, ":")
	if !ok || !two {
		return Account{}, fmt.Errorf("%q is no service account", user)
	}
	return ParseAccount(namespace + "/" + name)
}

// Review is what the cluster says of a token.
type Review struct {
	Account
	Pod, PodUID string    // that the token is bound to; "" for none
	Node        string    // of that pod; "" if it is not known
	Until       time.Time // when the token ends
}

// String is for the log.
func (r Review) String() string {
	s := r.Account.String()
	if r.Pod != "" {
		s += ", pod " + r.Pod
	}
	if r.Node != "" {
		s += " on " + r.Node
	}
	return s
}
