package mesh

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
)

// parseSaved turns what Save wrote into an update.
func parseSaved(b []byte) (Update, error) {
	u := Update{AddressesComplete: true, PoliciesComplete: true, Seen: map[string]string{}}
	body, ok := bodyOf(b)
	if !ok {
		return u, ErrCorrupt
	}
	r := reader{left: body}
	err := r.section(AddressType, u.Seen, func(m *discovery.Resource) error {
		return u.AddAddress(m.GetName(), m.GetVersion(), m.GetResource())
	})
	if err == nil {
		err = r.section(AuthorizationType, u.Seen, func(m *discovery.Resource) error {
			u.AddPolicy(m.GetName(), m.GetVersion(), m.GetResource())
			return nil
		})
	}
	if err == nil && len(r.left) > 0 {
		err = errors.New("bytes after the end")
	}
	if err != nil {
		return u, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return u, nil
}

// bodyOf checks length, magic and checksum.
func bodyOf(b []byte) ([]byte, bool) {
	if len(b) > maxSaved || len(b) < len(magic)+sha256.Size || string(b[:len(magic)]) != magic {
		return nil, false
	}
	end := len(b) - sha256.Size
	if sum := sha256.Sum256(b[:end]); string(sum[:]) != string(b[end:]) {
		return nil, false
	}
	return b[len(magic):end], true
}

type reader struct{ left []byte }

// section reads one head and its resources.
func (r *reader) section(typeURL string, seen map[string]string, each func(*discovery.Resource) error) error {
	head := &discovery.DeltaDiscoveryResponse{}
	if err := r.message(head); err != nil {
		return fmt.Errorf("head of %s: %w", typeURL, err)
	}
	if head.GetTypeUrl() != typeURL {
		return fmt.Errorf("a section of type %q instead of %s", clip(head.GetTypeUrl()), typeURL)
	}
	count, err := strconv.ParseUint(head.GetNonce(), 10, 31)
	if err != nil {
		return fmt.Errorf("number of resources: %w", err)
	}
	if v := head.GetSystemVersionInfo(); v != "" {
		seen[typeURL] = v
	}
	for range count {
		m := &discovery.Resource{}
		if err := r.message(m); err != nil {
			return err
		}
		if err := each(m); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) message(m proto.Message) error {
	size, n := binary.Uvarint(r.left)
	if n <= 0 || size > maxResource || size > uint64(len(r.left)-n) {
		return errors.New("length of a message")
	}
	b := r.left[n : n+int(size)]
	r.left = r.left[n+int(size):]
	return proto.Unmarshal(b, m)
}
