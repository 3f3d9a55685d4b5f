package loop

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/telemetry"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// fullRecord has everything that a record has while its connection is up.
func fullRecord() (*engine.Record, shared) {
	peer, peers := identity.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}, []string{"spiffe://a", "spiffe://b"}
	at := netip.MustParseAddrPort
	pod := &engine.Pod{UID: "u1", Addrs: []netip.Addr{netip.MustParseAddr("fd00::7"), netip.MustParseAddr("10.0.0.2")}}
	return &engine.Record{
		ID: 1<<40 + 7, Kind: engine.HBONE, Attempts: 3, Pod: pod, Bytes: &telemetry.Bytes{},
		Source: at("10.0.0.1:40000"), Dest: at("[fd00::7]:15008"), Target: at("10.0.0.2:8080"),
		Peer: peer, Accepted: time.Now(), First: time.Millisecond,
		Attempt: engine.Attempt{Connected: time.Microsecond, Dial: engine.Dial{Action: engine.Deliver, To: at("10.0.0.2:8080"),
			Pod: &engine.Pod{UID: "u2"}, Source: at("10.0.0.1:1").Addr(), Peers: []string{"spiffe://a", "spiffe://b"}}},
		From: &mesh.Workload{}, To: &mesh.Workload{}, Service: &mesh.Service{}, Policy: "shop/web", State: new(int),
		Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}, shared{&peer, &peers}
}

// TestKeptIsTheRecord: what was kept is the same record again.
func TestKeptIsTheRecord(t *testing.T) {
	full, of := fullRecord()
	for name, r := range map[string]*engine.Record{"full": full, "empty": {Pod: full.Pod, Bytes: full.Bytes}} {
		k := keep(r, of)
		if k == nil {
			t.Fatalf("%s: not kept", name)
		}
		got := &engine.Record{Reason: "of another"}
		k.record(got, r.Pod)
		got.Bytes = r.Bytes
		if !reflect.DeepEqual(got, r) {
			t.Errorf("%s: %+v\nwas %+v", name, got, r)
		}
	}
}

// TestKeptOrWhole: whatever a field holds, the record is kept as it is or not at all. A field that keep does
// not know is found here.
func TestKeptOrWhole(t *testing.T) {
	try := func(name string, change func(*engine.Record)) {
		r, of := fullRecord()
		change(r)
		if r.Pod == nil {
			return // there is none without
		}
		k := keep(r, of)
		if k == nil {
			return
		}
		got := &engine.Record{}
		k.record(got, r.Pod)
		got.Bytes = r.Bytes
		if !reflect.DeepEqual(got, r) {
			t.Errorf("%s is lost: %+v\nwas %+v", name, got, r)
		}
	}
	each := func(in func(*engine.Record) reflect.Value) {
		r, _ := fullRecord()
		for i := range in(r).NumField() {
			name := in(r).Type().Field(i).Name
			try(name+" of zero", func(r *engine.Record) { in(r).Field(i).SetZero() })
			try(name+" of another value", func(r *engine.Record) { other(in(r).Field(i)) })
		}
	}
	each(func(r *engine.Record) reflect.Value { return reflect.ValueOf(r).Elem() })
	each(func(r *engine.Record) reflect.Value { return reflect.ValueOf(&r.Attempt).Elem() })
	each(func(r *engine.Record) reflect.Value { return reflect.ValueOf(&r.Attempt.Dial).Elem() })
	try("a third host", func(r *engine.Record) { r.Dest = netip.MustParseAddrPort("192.0.2.1:80") })
	for _, s := range []string{"10.0.0.1:1", "[::]:0", "0.0.0.0:0", "[fe80::1%eth0]:7", "[::ffff:10.0.0.1]:7"} {
		try(s, func(r *engine.Record) { r.Target, r.Source = netip.MustParseAddrPort(s), netip.MustParseAddrPort(s) })
	}
	for _, s := range []string{"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", "not one"} {
		try(s, func(r *engine.Record) { r.Trace = s })
	}
}

// other gives a field a value that it has not had.
func other(v reflect.Value) {
	switch v.Interface().(type) {
	case netip.AddrPort:
		v.Set(reflect.ValueOf(netip.MustParseAddrPort("192.0.2.1:9")))
		return
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.MustParseAddr("192.0.2.1")))
		return
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1, 0)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("other")
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(v.Uint() + 1)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(v.Int() + 1000)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Slice:
		v.Set(reflect.ValueOf([]string{"other"}))
	case reflect.Interface:
		v.Set(reflect.ValueOf(7))
	case reflect.Struct:
		other(v.Field(0))
	}
}
