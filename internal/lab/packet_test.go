package lab

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

const synFrame = "02000000000102000000000208004500003c1c4640004006b1e60a0100020a0200030fa01f90000000640000000050020000000000006869"

func FuzzParseFrame(f *testing.F) {
	b, err := hex.DecodeString(synFrame)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(append(append([]byte{}, b[:12]...), 0x86, 0xdd, 0x60))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := parseFrame(b); ok && len(s.Payload) > len(b) {
			t.Errorf("payload of %d bytes in a frame of %d", len(s.Payload), len(b))
		}
	})
}

func TestStreamPutsSegmentsInOrder(t *testing.T) {
	f := Flow{netip.MustParseAddrPort("10.1.0.2:4000"), netip.MustParseAddrPort("10.2.0.3:80")}
	seg := func(seq uint32, s string) Segment { return Segment{Flow: f, Seq: seq, Payload: []byte(s)} }
	tr := &Trace{[]Segment{seg(0xfffffffe, "ab"), seg(2, "ef"), seg(0, "cd"), seg(0, "cde")}}
	if got, gap := tr.Stream(f); string(got) != "abcdef" || gap {
		t.Errorf("stream %q, gap %v", got, gap)
	}
	if !tr.Contains([]byte("bcde")) {
		t.Error("bytes across segments not found")
	}
	if got, gap := (&Trace{[]Segment{seg(0, "ab"), seg(9, "cd")}}).Stream(f); string(got) != "ab" || !gap {
		t.Errorf("stream %q, gap %v", got, gap)
	}
}

func TestOnlyTLS(t *testing.T) {
	f := Flow{netip.MustParseAddrPort("[fd00::1]:4000"), netip.MustParseAddrPort("[fd00::2]:15008")}
	for _, c := range []struct {
		bytes string
		ok    bool
	}{
		{"\x16\x03\x01\x00\x02hi\x17\x03\x03\x00\x01x", true},
		{"\x16\x03\x01\x00\x02hi\x17\x03\x03\x00\x09x", true}, // cut
		{"GET / HTTP/1.1\r\n", false},
		{"\x17\x03\x03\x00\x01x", false}, // no handshake
		{"\x16\x03\x01\x00\x02hiGET", false},
		{"", false},
	} {
		tr := &Trace{[]Segment{{Flow: f, Flags: FlagSYN}, {Flow: f, Payload: []byte(c.bytes)}}}
		if err := tr.OnlyTLS(); (err == nil) != c.ok {
			t.Errorf("%q: %v", c.bytes, err)
		}
	}
}
