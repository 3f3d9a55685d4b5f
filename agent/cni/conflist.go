// Package cni puts the plugin ambit-cni into a node's chain of CNI plugins, keeps it there, and answers
// it.
package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ambitmesh/ambit/internal/cni"
)

var (
	errNoChain  = errors.New("no plugins in it")
	errTrailing = errors.New("more than one JSON value")
)

// span is where a value lies in a text.
type span struct{ from, to int }

// chain is what is known of a configuration list's text.
type chain struct {
	name    string
	plugins []span
	ours    int // index in plugins, or -1
}

// parseChain finds the plugins of a list without changing a byte of it: what a primary plugin's author
// wrote stays as it was.
func parseChain(text []byte) (chain, error) {
	c := chain{ours: -1}
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return c, fmt.Errorf("not a JSON object: %w", orElse(err, errNoChain))
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return c, fmt.Errorf("read list: %w", err)
		}
		switch key {
		case "plugins":
			if err := c.readPlugins(d); err != nil {
				return c, err
			}
		case "name":
			err = d.Decode(&c.name)
		default:
			var skip json.RawMessage
			err = d.Decode(&skip)
		}
		if err != nil {
			return c, fmt.Errorf("read list: %w", err)
		}
	}
	if _, err := d.Token(); err != nil {
		return c, fmt.Errorf("read list: %w", err)
	}
	if d.More() {
		return c, errTrailing
	}
	if len(c.plugins) == 0 || len(c.plugins) == 1 && c.ours == 0 {
		return c, errNoChain
	}
	return c, nil
}

func (c *chain) readPlugins(d *json.Decoder) error {
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return fmt.Errorf("plugins: not a list: %w", orElse(err, errNoChain))
	}
	c.plugins, c.ours = nil, -1 // of two of the name the last counts
	for d.More() {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return fmt.Errorf("plugins: %w", err)
		}
		to := int(d.InputOffset())
		var p struct {
			Type string `json:"type"`
		}
		if json.Unmarshal(raw, &p) == nil && p.Type == cni.Type && c.ours < 0 {
			c.ours = len(c.plugins)
		}
		c.plugins = append(c.plugins, span{to - len(bytes.TrimSpace(raw)), to})
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("plugins: %w", err)
	}
	return nil
}

func orElse(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// separator stands between the last plugin and ours.
const separator = ",\n    "

// insert appends our plugin to the chain. A chain that has it with this configuration is returned as it is.
func insert(text []byte, conf cni.Config) ([]byte, error) {
	c, err := parseChain(text)
	if err != nil {
		return nil, err
	}
	ours, err := json.Marshal(conf)
	if err != nil {
		return nil, fmt.Errorf("encode plugin: %w", err)
	}
	if c.ours >= 0 {
		if at := c.plugins[c.ours]; c.ours == len(c.plugins)-1 && bytes.Equal(text[at.from:at.to], ours) {
			return text, nil
		}
		if text, err = remove(text); err != nil {
			return nil, err
		}
		return insert(text, conf)
	}
	end := c.plugins[len(c.plugins)-1].to
	return bytes.Join([][]byte{text[:end], []byte(separator), ours, text[end:]}, nil), nil
}

// remove takes our plugin out of the chain: insert's inverse.
func remove(text []byte) ([]byte, error) {
	c, err := parseChain(text)
	if err != nil {
		return nil, err
	}
	if c.ours < 0 {
		return text, nil
	}
	from, to := c.plugins[c.ours].from, c.plugins[c.ours].to
	if c.ours > 0 {
		from = c.plugins[c.ours-1].to // with the comma before
	} else {
		to = c.plugins[1].from // with the comma behind
	}
	return remove(bytes.Join([][]byte{text[:from], text[to:]}, nil))
}

// wrap makes a list of a configuration of one plugin, with ours behind it. One of lo alone is no primary.
func wrap(text []byte, conf cni.Config) ([]byte, error) {
	var one map[string]json.RawMessage
	if err := json.Unmarshal(text, &one); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	var kind string
	if json.Unmarshal(one["type"], &kind) != nil || kind == "" || kind == "loopback" || kind == cni.Type {
		return nil, errNoChain
	}
	list := struct {
		Version json.RawMessage              `json:"cniVersion,omitempty"`
		Name    json.RawMessage              `json:"name,omitempty"`
		Plugins []map[string]json.RawMessage `json:"plugins"`
	}{one["cniVersion"], one["name"], []map[string]json.RawMessage{one}}
	delete(one, "cniVersion")
	delete(one, "name")
	b, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode list: %w", err)
	}
	return insert(append(b, '\n'), conf)
}
