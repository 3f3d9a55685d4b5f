package kube

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// tunnelled counts packets to and from the tunnels' port that cross the fabric while do runs. A counter of
// the control machine's bridge sees what passes between nodes.
func tunnelled(t *testing.T, do func()) int {
	t.Helper()
	const table = "ambit_test"
	rules := fmt.Sprintf("add table bridge %[1]s\nadd chain bridge %[1]s f { type filter hook forward priority 0; }\nadd rule bridge %[1]s f tcp dport 15008 counter\n", table)
	cmd := c.Control.EnterNet("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("count packets: %v: %s", err, out)
	}
	defer func() { _ = c.Control.EnterNet("nft", "delete", "table", "bridge", table).Run() }()
	do()
	out, err := c.Control.EnterNet("nft", "list", "table", "bridge", table).CombinedOutput()
	if err != nil {
		t.Fatalf("read the counter: %v: %s", err, out)
	}
	_, rest, _ := strings.Cut(string(out), "packets ")
	n, err := strconv.Atoi(strings.Fields(rest + " x")[0])
	if err != nil {
		t.Fatalf("no counter in %s", out)
	}
	return n
}
