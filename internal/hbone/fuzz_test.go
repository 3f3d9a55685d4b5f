package hbone

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames builds bytes of a connection for the seed corpus.
func frames(build func(*http2.Framer, func(...string) []byte)) []byte {
	var out, block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	fr := http2.NewFramer(&out, nil)
	fr.AllowIllegalWrites = true
	_ = fr.WriteSettings()
	build(fr, func(kv ...string) []byte {
		block.Reset()
		for i := 0; i < len(kv); i += 2 {
			_ = enc.WriteField(hpack.HeaderField{Name: kv[i], Value: kv[i+1]})
		}
		return bytes.Clone(block.Bytes())
	})
	return out.Bytes()
}

func seeds() [][]byte {
	head := func(fr *http2.Framer, id uint32, block []byte) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true})
	}
	return [][]byte{
		{}, []byte("GET / HTTP/1.1\r\n\r\n"),
		frames(func(fr *http2.Framer, h func(...string) []byte) {
			head(fr, 1, h(":method", "CONNECT", ":authority", "10.0.0.1:80", "baggage", "a=b"))
			_ = fr.WriteData(1, false, []byte("hello"))
			_ = fr.WriteDataPadded(1, true, []byte("x"), make([]byte, 9))
			head(fr, 3, h(":method", "GET", ":path", "/", ":scheme", "https"))
			_ = fr.WriteRSTStream(1, http2.ErrCodeCancel)
			_ = fr.WriteGoAway(0, http2.ErrCodeNo, nil)
		}),
		frames(func(fr *http2.Framer, h func(...string) []byte) {
			head(fr, 1, h(":status", "200", "baggage", "a=b"))
			_ = fr.WriteData(1, false, []byte("hello"))
			head(fr, 1, h("x-trailer", "1"))
			_ = fr.WriteWindowUpdate(0, 1<<31-1)
		}),
		frames(func(fr *http2.Framer, h func(...string) []byte) {
			_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}, http2.Setting{ID: 99, Val: 1})
			_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
			_ = fr.WritePing(false, [8]byte{})
			_ = fr.WritePriority(5, http2.PriorityParam{StreamDep: 5})
			_ = fr.WriteRawFrame(77, 3, 9, []byte("unknown"))
			_ = fr.WriteWindowUpdate(1, 1<<31-1)
			_ = fr.WriteContinuation(1, true, nil)
		}),
	}
}

// FuzzServerFrames feeds arbitrary bytes behind the preface to a server's end, and without it to a
// client's: neither may panic, hang or leave goroutines behind.
func FuzzServerFrames(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		fuzzServer(t, in)
		fuzzClient(t, in)
		noLeak(t)
	})
}

// feed writes in to a connection's other end, reads what comes back, and closes.
func feed(t *testing.T, peer net.Conn, in []byte) {
	drained := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, peer); close(drained) }()
	_ = peer.SetWriteDeadline(time.Now().Add(time.Minute))
	_, _ = peer.Write(in)
	_ = peer.Close()
	<-drained
}

func fuzzServer(t *testing.T, in []byte) {
	peer, nc := net.Pipe()
	sc := NewServer(nc, Config{})
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			s, err := sc.Accept()
			if err != nil {
				return
			}
			_ = s.Respond(200)
			go func() { _, _ = io.Copy(io.Discard, s); _ = s.CloseWrite(); s.Close() }()
		}
	}()
	feed(t, peer, append([]byte(http2.ClientPreface), in...))
	<-sc.Done()
	<-served
	sc.Close()
}

func fuzzClient(t *testing.T, in []byte) {
	peer, nc := net.Pipe()
	cc, err := NewClient(nc, Config{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := cc.Open(t.Context(), &Request{Authority: "10.0.0.1:80"})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _, _ = s.WaitResponse(t.Context())
		_, _ = s.Write([]byte("hello"))
		_, _ = io.Copy(io.Discard, s)
		_ = s.Close()
	}()
	feed(t, peer, in)
	<-cc.Done()
	cc.Close()
}

func FuzzBaggage(f *testing.F) {
	for _, s := range []string{"", "k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.deployment.name=web,service.name=web,service.version=v1",
		"cloud.region=a%20b;x=1 , cloud.availability_zone=z", "k8s.pod.name=%zz", ",,=,;", "service.name=\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		b, err := ParseBaggage(in)
		if err != nil {
			return
		}
		again, err := ParseBaggage(b.Format())
		if err == nil && again != b {
			t.Errorf("%q: %s", in, cmp.Diff(b, again))
		}
	})
}

func FuzzForwarded(f *testing.F) {
	for _, s := range []string{"", `for="10.0.0.1:80"`, `for="[::1]:80";host=a.b.svc.cluster.local`, "For=unknown;proto=http, for=x",
		`for="\"";host="a`, "for=1.2.3.4;HOST=a:80", "for=[::1%eth0]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		from, host, err := ParseForwarded(in)
		if err != nil || !from.IsValid() {
			return
		}
		from2, host2, err := ParseForwarded(FormatForwarded(from, host))
		if err != nil || from2 != from || host2 != host {
			t.Errorf("%q: %v %q, then %v %q, %v", in, from, host, from2, host2, err)
		}
	})
}

func FuzzAuthority(f *testing.F) {
	for _, s := range []string{"", "1.2.3.4:80", "[::1]:80", "[::ffff:1.2.3.4]:443", "a.b:1", "a:0", "a:65536", "u@a:1", "::1:80", "[fe80::1%lo]:1", "1.2.3:80", "[1.2.3.4]:80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		host, port, ip, isIP, err := ParseAuthority(in)
		if err != nil {
			return
		}
		host2, port2, ip2, isIP2, err := ParseAuthority(FormatAuthority(host, port))
		if err != nil || host2 != host || port2 != port || ip2 != ip || isIP2 != isIP || isIP != ip.IsValid() || ip.Is4In6() {
			t.Errorf("%q: %q %d %v, then %q %d %v, %v", in, host, port, ip, host2, port2, ip2, err)
		}
	})
}

func FuzzTraceparent(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Add("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Add("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more")
	f.Add(NewTraceparent(rand.Uint64).String())
	f.Fuzz(func(t *testing.T, in string) {
		tp, err := ParseTraceparent(in)
		if err != nil {
			return
		}
		again, err := ParseTraceparent(tp.String())
		if err != nil || again != tp {
			t.Errorf("%q: %v, %v", in, again, err)
		}
	})
}
