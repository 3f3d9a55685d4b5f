package translate

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambitmesh/ambit/internal/authz"
	"github.com/ambitmesh/ambit/internal/meshpb/ambit"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/internal/objects"
)

// policy is what an AuthorizationPolicy becomes.
type policy struct {
	message  *security.Authorization // nil: nothing is sent
	selector map[string]string       // of the pods whose records name it; empty: it has a wider scope
	bad      bool                    // cannot be understood: message is what stands for it
	why      string                  // it is bad
	status   Status
}

// unlessBad returns p, or the older version if p cannot be understood and that could.
func (p *policy) unlessBad(old *policy) *policy {
	if !p.bad || old == nil || old.bad {
		return p
	}
	kept := *old
	kept.status.Accepted, kept.status.Generation = false, p.status.Generation
	kept.status.Message = p.why + previousStays
	kept.why = p.why
	return &kept
}

// finish adds what is to be said about the policy, and replaces it if it cannot be understood.
func (p *policy) finish(r *reader) {
	note := &ambit.PolicyNote{Kind: string(objects.AuthorizationPolicy), Refused: someOf(r.refused)}
	if len(r.errs) == 0 {
		if err := p.seal(note); err != nil {
			r.fail("", err)
		}
	}
	p.status.EnforcedBy = ztunnel
	p.status.Parts = slices.Concat(r.refused, r.warnings)
	if len(r.errs) > 0 {
		p.stand(oneLine(r.errs))
		return
	}
	p.status.Message = r.consequence(p.message.DryRun)
}

// seal attaches the note and makes sure that a proxy will understand the message.
func (p *policy) seal(note *ambit.PolicyNote) error {
	cfg, err := anypb.New(note)
	if err != nil {
		return fmt.Errorf("pack note: %w", err)
	}
	p.message.Extensions = []*workload.Extension{{Name: authz.NoteExtension, Config: cfg}}
	_, err = authz.FromProto(p.message)
	return err
}

// stand makes the message what stands for a policy that cannot be understood: an ALLOW matches
// nothing, a DENY all of its scope. The rules say so too, for proxies that do not know the note.
func (p *policy) stand(reason string) {
	p.bad, p.why, p.message.Rules = true, reason, nil
	meaning := "nothing is allowed"
	if p.message.Action == security.Action_DENY {
		p.message.Rules, meaning = []*security.Rule{{}}, "everything is refused"
	}
	p.status.Accepted, p.status.Message = false, reason+"; "+meaning
	// The note is made of valid text, so it can always be packed.
	_ = p.seal(&ambit.PolicyNote{Kind: string(objects.AuthorizationPolicy), Unintelligible: true, Reason: reason})
}
