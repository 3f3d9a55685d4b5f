package h2

import (
	"fmt"
	"math"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Peer is what the peer announced.
type Peer struct {
	Known      bool // its SETTINGS have come
	MaxStreams uint32
	Window     int64 // initial window of streams that we send on
	MaxFrame   int
	HeaderList uint32
}

// InitialPeer is what holds before the peer's SETTINGS.
func InitialPeer() Peer {
	return Peer{MaxStreams: defaultClientStreams, Window: RFCWindow, MaxFrame: RFCMaxFrame,
		HeaderList: math.MaxUint32}
}

// Hello notes that SETTINGS have come. None said means no limit of streams.
func (p *Peer) Hello() {
	if !p.Known {
		p.Known = true
		p.MaxStreams = math.MaxUint32
	}
}

// Fits holds a header list against what the peer accepts.
func (p *Peer) Fits(fields []hpack.HeaderField) error {
	size := uint64(0)
	for _, f := range fields {
		size += uint64(f.Size())
	}
	if size > uint64(p.HeaderList) {
		return fmt.Errorf("%w: %d bytes, the peer accepts %d", ErrHeaders, size, p.HeaderList)
	}
	return nil
}

// Apply takes one setting. by is what the windows of all streams are to be moved by (RFC 9113 6.9.2).
func (p *Peer) Apply(s http2.Setting, enc *hpack.Encoder, server bool) (by int64, err error) {
	if err := s.Valid(); err != nil {
		return 0, err
	}
	switch s.ID {
	case http2.SettingHeaderTableSize:
		enc.SetMaxDynamicTableSizeLimit(min(s.Val, HpackTable))
		enc.SetMaxDynamicTableSize(min(s.Val, HpackTable))
	case http2.SettingMaxConcurrentStreams:
		p.MaxStreams = s.Val
	case http2.SettingMaxFrameSize:
		p.MaxFrame = int(s.Val)
	case http2.SettingMaxHeaderListSize:
		p.HeaderList = s.Val
	case http2.SettingEnablePush:
		if !server && s.Val != 0 {
			return 0, Protocolf("server enables push")
		}
	case http2.SettingInitialWindowSize:
		by = int64(s.Val) - p.Window
		p.Window = int64(s.Val)
	}
	return by, nil
}

// Settings are what an endpoint announces.
func (c Config) Settings(server bool) []http2.Setting {
	set := []http2.Setting{
		{ID: http2.SettingMaxFrameSize, Val: uint32(c.MaxFrame)},
		{ID: http2.SettingInitialWindowSize, Val: uint32(c.StreamWindow)},
		{ID: http2.SettingMaxHeaderListSize, Val: uint32(c.MaxHeaderList)},
	}
	if server {
		return append(set, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(c.MaxStreams)})
	}
	return append(set, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
}
