package netns

import (
	"testing"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

func TestProbes(t *testing.T) {
	s := newShop(t, lab.Options{})
	s.mtls(t, "shop", "STRICT")
	node := s.Node("node-a")
	other, err := node.Process()
	must(t, err)
	defer other.Close()
	kubelet, err := node.Kubelet()
	must(t, err)
	defer kubelet.Close()
	both(t, func(t *testing.T, v6 bool) {
		t.Run("STRICT refuses another process of the node", func(t *testing.T) {
			eventually(t, func() error { return refused(ctx(t), other, s.near.At(v6, portBanner)) })
		})
		t.Run("STRICT refuses the plain pod", func(t *testing.T) {
			eventually(t, func() error { return refused(ctx(t), program(t, s.plainClient), s.near.At(v6, portBanner)) })
			eventually(t, func() error { return refused(ctx(t), program(t, s.plainClient), s.far.At(v6, portBanner)) })
		})
		t.Run("the probe passes", func(t *testing.T) {
			b, err := kubelet.Ask(ctx(t), app.DialArgs{Address: s.near.At(v6, portBanner)})
			must(t, err)
			if b.Name != s.near.FullName() {
				t.Errorf("banner %+v", b)
			}
		})
		t.Run("the probe of another node's pod is refused", func(t *testing.T) {
			must(t, refused(ctx(t), kubelet, s.far.At(v6, portBanner)))
		})
		t.Run("the mesh passes", func(t *testing.T) {
			s.talk(t, s.client, s.near, v6)
			s.talk(t, s.client, s.far, v6)
		})
	})
}
