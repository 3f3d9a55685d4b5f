package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
)

// The specification's error codes.
const (
	codeEnv    = 4
	codeIO     = 5
	codeDecode = 6
	codeConfig = 7
	codeAgain  = 11
	codePlugin = 100
)

// failure is an error with its code.
type failure struct {
	code int
	err  error
}

// Error implements error.
func (f failure) Error() string { return f.err.Error() }

// Unwrap gives the cause.
func (f failure) Unwrap() error { return f.err }

var errTooLarge = errors.New("more than 4 MiB")

// supported are the versions whose results look alike for this plugin, which gives them on unchanged.
var supported = []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}

func problem(version string, err error) []byte {
	f := failure{codePlugin, err}
	if !errors.As(err, &f) {
		f.err = err
	}
	if version == "" {
		version = supported[len(supported)-1]
	}
	b, err := json.Marshal(struct {
		Version string `json:"cniVersion"`
		Code    int    `json:"code"`
		Msg     string `json:"msg"`
	}{version, f.code, "ambit-cni: " + f.Error()})
	if err != nil {
		return []byte(`{"code":100,"msg":"ambit-cni"}`)
	}
	return b
}

func versions(stdin []byte) []byte {
	var in struct {
		Version string `json:"cniVersion"`
	}
	if json.Unmarshal(stdin, &in) != nil || in.Version == "" {
		in.Version = supported[len(supported)-1]
	}
	b, err := json.Marshal(struct {
		Version   string   `json:"cniVersion"`
		Supported []string `json:"supportedVersions"`
	}{in.Version, supported})
	if err != nil {
		return nil
	}
	return b
}

// addresses are those of a result. Those of interfaces outside the sandbox (a bridge's) are not among
// them: results name no address for these.
func addresses(result json.RawMessage) ([]string, error) {
	if len(result) == 0 || string(result) == "null" {
		return nil, nil
	}
	var r struct {
		IPs []struct {
			Address string `json:"address"`
		} `json:"ips"`
	}
	if err := json.Unmarshal(result, &r); err != nil {
		return nil, fmt.Errorf("prevResult: %w", err)
	}
	var out []string
	for _, ip := range r.IPs {
		p, err := netip.ParsePrefix(ip.Address)
		if err != nil {
			return nil, fmt.Errorf("prevResult: address: %w", err)
		}
		out = append(out, p.Addr().String())
	}
	return out, nil
}
