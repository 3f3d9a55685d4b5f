package mesh

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ambitmesh/ambit/internal/meshpb/workload"
)

func (w *writer) service(msg *workload.Service, res resource) error {
	next, err := newService(msg, w.network)
	if err != nil {
		return err
	}
	old, known := w.services.get(next.Key)
	switch {
	case !known && w.full():
		return fmt.Errorf("add service %q: %w", clip(next.Key), errTooMany)
	case known && bytes.Equal(old.raw, res.raw):
		w.services.set(w.batch, next.Key, &serviceRecord{old.Service, res})
		return nil
	case known:
		w.unlist(old.Service)
	}
	w.list(next)
	w.services.set(w.batch, next.Key, &serviceRecord{next, res})
	w.change.Services = append(w.change.Services, next.Key)
	return nil
}

func (w *writer) removeService(key string) {
	if old, ok := w.services.get(key); ok {
		w.unlist(old.Service)
		w.services.remove(w.batch, key)
		w.change.Services = append(w.change.Services, key)
	}
}

// list enters svc under its addresses and its hostname.
func (w *writer) list(svc *Service) {
	for _, p := range svc.VIPs {
		with(&w.byVIP, w.batch, p, svc)
		w.countBlock(p, 1)
	}
	with(&w.byHostname, w.batch, svc.Hostname, svc)
}

func (w *writer) unlist(svc *Service) {
	for _, p := range svc.VIPs {
		without(&w.byVIP, w.batch, p, svc)
		w.countBlock(p, -1)
	}
	without(&w.byHostname, w.batch, svc.Hostname, svc)
}

func with[K comparable](t *trie[K, []*Service], b *batch, k K, svc *Service) {
	list, _ := t.get(k)
	i, _ := slices.BinarySearchFunc(list, svc.Key, func(s *Service, key string) int { return cmp.Compare(s.Key, key) })
	t.set(b, k, slices.Insert(slices.Clone(list), i, svc))
}

func without[K comparable](t *trie[K, []*Service], b *batch, k K, svc *Service) {
	list, _ := t.get(k)
	list = slices.DeleteFunc(slices.Clone(list), func(s *Service) bool { return s == svc })
	if len(list) == 0 {
		t.remove(b, k)
		return
	}
	t.set(b, k, list)
}

// countBlock keeps the lengths of blocks, so that a lookup tries only those in use.
func (w *writer) countBlock(p netip.Prefix, n int) {
	if p.IsSingleIP() {
		return
	}
	lengths := slices.Clone(w.cidrs[family(p.Addr())])
	i, found := slices.BinarySearchFunc(lengths, p.Bits(), func(l cidrLength, bits int) int { return bits - l.bits })
	if !found {
		lengths = slices.Insert(lengths, i, cidrLength{bits: p.Bits()})
	}
	if lengths[i].count += n; lengths[i].count == 0 {
		lengths = slices.Delete(lengths, i, i+1)
	}
	w.cidrs[family(p.Addr())] = lengths
}
