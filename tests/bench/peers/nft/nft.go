// Package nft sets up netfilter in a lab's namespaces, for proxies that are fed by it.
package nft

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/ambitmesh/ambit/internal/lab"
)

// Usable says why nothing can be set up here, or nil.
func Usable() error {
	if _, err := exec.LookPath("nft"); err != nil {
		return errors.New("there is no nft, which redirects connections to it")
	}
	return nil
}

// ErrCannotCheck is wrapped by Check where rules cannot be checked.
var ErrCannotCheck = errors.New("nft rules cannot be checked here")

// Check says whether rules would be understood. Nothing is set up.
func Check(ctx context.Context, rules string) error {
	if err := errors.Join(Usable(), root()); err != nil {
		return fmt.Errorf("%w: %w", ErrCannotCheck, err)
	}
	cmd := exec.CommandContext(ctx, "nft", "-c", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

func root() error {
	if os.Geteuid() != 0 {
		return errors.New("it needs root")
	}
	return nil
}

// Apply reads rules into the namespace of a host.
func Apply(ctx context.Context, h *lab.Host, rules string) error {
	var out bytes.Buffer
	p, err := h.Start(lab.Command{Args: []string{"nft", "-f", "-"}, Stdin: strings.NewReader(rules), Stdout: &out, Stderr: &out})
	if err == nil {
		err = p.Wait(ctx)
	}
	if err != nil {
		return fmt.Errorf("nft in %s: %w: %s", h.Name, err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}
