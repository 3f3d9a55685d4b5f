package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// flags is a page with the program's own help, one section a command.
func flags(ctx context.Context, exe string) (string, error) {
	name := filepath.Base(exe)
	page := "# " + name + "\n"
	err := walk(ctx, exe, nil, &page)
	return page, err
}

func walk(ctx context.Context, exe string, verbs []string, page *string) error {
	help, err := helpOf(ctx, exe, verbs)
	if err != nil {
		return err
	}
	if len(verbs) > 0 {
		*page += "\n## " + filepath.Base(exe) + " " + strings.Join(verbs, " ") + "\n"
	}
	*page += "\n```text\n" + strings.TrimSpace(help) + "\n```\n"
	for _, v := range commands(help) {
		if err := walk(ctx, exe, append(append([]string{}, verbs...), v), page); err != nil {
			return err
		}
	}
	return nil
}

func helpOf(ctx context.Context, exe string, verbs []string) (string, error) {
	cmd := exec.CommandContext(ctx, exe, append(append([]string{}, verbs...), "--help")...)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for help: %w", strings.Join(cmd.Args, " "), err)
	}
	return string(out), nil
}

var (
	commandBlock = regexp.MustCompile(`(?s)Available Commands:\n(.*?)\n\n`)
	commandLine  = regexp.MustCompile(`(?m)^  ([a-z-]+) `)
)

// commands are the verbs that a help text lists, without those that every cobra program has.
func commands(help string) []string {
	block := commandBlock.FindStringSubmatch(help + "\n\n")
	if block == nil {
		return nil
	}
	var out []string
	for _, m := range commandLine.FindAllStringSubmatch(block[1], -1) {
		if m[1] != "help" && m[1] != "completion" {
			out = append(out, m[1])
		}
	}
	return out
}
