package main

import (
	"strings"
	"testing"
)

func TestCommandsOfAHelpText(t *testing.T) {
	help := "Usage:\n  x [command]\n\nAvailable Commands:\n  check       Try it\n  completion  Generate\n  help        Help\n  root-rotate Turn\n\nFlags:\n  -h, --help   help for x\n"
	if got := strings.Join(commands(help), " "); got != "check root-rotate" {
		t.Errorf("commands: %q", got)
	}
	if got := commands("Usage:\n  x\n"); got != nil {
		t.Errorf("commands of none: %q", got)
	}
}

func TestReasonsTable(t *testing.T) {
	page, err := reasons("../../internal/reason/reason.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| `policy_deny` | a DENY policy matched |", "| `unreachable` | unreachable |"} {
		if !strings.Contains(page, want) {
			t.Errorf("no row %q in:\n%s", want, page)
		}
	}
	if strings.Contains(page, "| `` |") {
		t.Error("the empty reason is in the table")
	}
}
