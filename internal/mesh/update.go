package mesh

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
)

// Update is one batch of changes; it becomes visible at once.
type Update struct {
	UpsertAddress  []*workload.Address
	AddressVersion []string // same order as UpsertAddress; may be empty
	UpsertPolicy   []*security.Authorization
	PolicyVersion  []string // same order as UpsertPolicy; may be empty

	// UnreadablePolicy maps "namespace/name" to why not even the message could be decoded.
	UnreadablePolicy map[string]string

	RemoveAddress []string // uids or service keys; more than one '/' is a workload
	RemovePolicy  []string // "namespace/name"

	AddressesComplete bool // with this update the first complete answer of the type is in
	PoliciesComplete  bool

	Seen map[string]string // type URL to the system version of this update, kept for a reconnect
}

// AddAddress adds a resource as it came over the wire. Its name must be the one that it is removed by.
func (u *Update) AddAddress(name, version string, body *anypb.Any) error {
	a := &workload.Address{}
	if err := decode(body, AddressType, a); err != nil {
		return fmt.Errorf("read address %q: %w", clip(name), err)
	}
	own := a.GetWorkload().GetUid()
	if s := a.GetService(); s != nil {
		own = s.GetNamespace() + "/" + s.GetHostname()
	}
	if own != name {
		return fmt.Errorf("read address %q: it calls itself %q", clip(name), clip(own))
	}
	for len(u.AddressVersion) < len(u.UpsertAddress) {
		u.AddressVersion = append(u.AddressVersion, "")
	}
	u.UpsertAddress = append(u.UpsertAddress, a)
	u.AddressVersion = append(u.AddressVersion, version)
	return nil
}

// AddPolicy adds a resource as it came over the wire. One that cannot be decoded, or that calls itself
// otherwise, is entered in UnreadablePolicy, and Apply reports it.
func (u *Update) AddPolicy(name, version string, body *anypb.Any) {
	a := &security.Authorization{}
	err := decode(body, AuthorizationType, a)
	if own := a.GetNamespace() + "/" + a.GetName(); err == nil && own != name {
		err = fmt.Errorf("it calls itself %q", clip(own))
	}
	if err != nil {
		if u.UnreadablePolicy == nil {
			u.UnreadablePolicy = map[string]string{}
		}
		u.UnreadablePolicy[name] = strings.ToValidUTF8(clip(err.Error()), "?")
		return
	}
	for len(u.PolicyVersion) < len(u.UpsertPolicy) {
		u.PolicyVersion = append(u.PolicyVersion, "")
	}
	u.UpsertPolicy = append(u.UpsertPolicy, a)
	u.PolicyVersion = append(u.PolicyVersion, version)
}

func decode(body *anypb.Any, typeURL string, into proto.Message) error {
	switch {
	case body == nil:
		return errors.New("no body")
	case body.GetTypeUrl() != typeURL:
		return fmt.Errorf("type %q", clip(body.GetTypeUrl()))
	}
	return proto.Unmarshal(body.GetValue(), into)
}
