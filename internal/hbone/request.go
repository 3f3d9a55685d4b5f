package hbone

import (
	"fmt"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// maxFields bounds the header fields of a request beside those that the mesh gives a meaning.
const maxFields = 100

// Request is what opens a tunnel.
type Request struct {
	Authority   string // "ip:port", "[v6]:port" or "hostname:port"
	Baggage     string // see Baggage; several fields are joined by commas
	Forwarded   string // see ParseForwarded; the first field counts
	Traceparent string // see ParseTraceparent; the first field counts
	// Header holds the other fields, names in lower case, at most 100.
	Header []hpack.HeaderField
}

// ParseRequest reads a CONNECT request and refuses all else (RFC 9113 8.3.1 and 8.5).
func ParseRequest(mh *http2.MetaHeadersFrame) (*Request, error) {
	req := &Request{}
	if err := req.takePseudo(mh.PseudoFields()); err != nil {
		return nil, err
	}
	for _, f := range mh.RegularFields() {
		if err := req.take(f); err != nil {
			return nil, err
		}
	}
	return req, nil
}

func (r *Request) takePseudo(fields []hpack.HeaderField) error {
	method := ""
	for _, f := range fields {
		switch {
		case f.Name == ":method" && method == "":
			method = f.Value
		case f.Name == ":authority" && r.Authority == "":
			r.Authority = f.Value
		default:
			return fmt.Errorf("%w: %q in a CONNECT request", ErrHeaders, f.Name)
		}
	}
	if method != "CONNECT" {
		return fmt.Errorf("%w: method %q, want CONNECT", ErrHeaders, method)
	}
	if _, _, _, _, err := ParseAuthority(r.Authority); err != nil {
		return fmt.Errorf("%w: %w", ErrHeaders, err)
	}
	return nil
}

func (r *Request) take(f hpack.HeaderField) error {
	switch f.Name {
	case "baggage":
		if r.Baggage != "" {
			r.Baggage += ","
		}
		r.Baggage += f.Value
	case "forwarded":
		setOnce(&r.Forwarded, f.Value)
	case "traceparent":
		setOnce(&r.Traceparent, f.Value)
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return fmt.Errorf("%w: %q in HTTP/2", ErrHeaders, f.Name) // RFC 9113 8.2.2
	case "te":
		if f.Value != "trailers" {
			return fmt.Errorf("%w: te is not trailers", ErrHeaders)
		}
	case "host":
		if f.Value != r.Authority {
			return fmt.Errorf("%w: host is not the authority", ErrHeaders)
		}
	default:
		if len(r.Header) == maxFields {
			return fmt.Errorf("%w: more than %d fields", ErrHeaders, maxFields)
		}
		r.Header = append(r.Header, f)
	}
	return nil
}

func setOnce(dst *string, v string) {
	if *dst == "" {
		*dst = v
	}
}

// Fields returns the request as a header list. What differs from tunnel to tunnel is kept out of the
// peer's header table.
func (r *Request) Fields() ([]hpack.HeaderField, error) {
	if _, _, _, _, err := ParseAuthority(r.Authority); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHeaders, err)
	}
	out := make([]hpack.HeaderField, 0, 5+len(r.Header))
	out = append(out, hpack.HeaderField{Name: ":method", Value: "CONNECT"},
		hpack.HeaderField{Name: ":authority", Value: r.Authority})
	for _, f := range []hpack.HeaderField{
		{Name: "baggage", Value: r.Baggage},
		{Name: "forwarded", Value: r.Forwarded, Sensitive: true},
		{Name: "traceparent", Value: r.Traceparent, Sensitive: true},
	} {
		if f.Value != "" {
			out = append(out, f)
		}
	}
	out = append(out, r.Header...)
	return out, checkFields(out[2:])
}

// checkFields refuses what must not be sent.
func checkFields(fields []hpack.HeaderField) error {
	for _, f := range fields {
		if !httpguts.ValidHeaderFieldName(f.Name) || strings.ToLower(f.Name) != f.Name ||
			!httpguts.ValidHeaderFieldValue(f.Value) {
			return fmt.Errorf("%w: field %q", ErrHeaders, f.Name)
		}
	}
	return nil
}

// GetHeader returns the first of the fields with the name, in lower case, or "".
func GetHeader(fields []hpack.HeaderField, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}
