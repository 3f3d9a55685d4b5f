package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
)

const reasonsHead = `# Reasons

Every connection that is refused or ended early has one of these reasons. The word is the same in the
metric label ` + "`reason`" + ` of ` + "`ambit_refused_total`" + `, in the access log, in ` + "`ambit connections`" + ` and in
` + "`ambit explain`" + `.

| Reason | Meaning |
|---|---|
`

// reasons is a table of the constants in a Go file, with the comments behind them.
func reasons(file string) (string, error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		return "", fmt.Errorf("parse reasons: %w", err)
	}
	page, rows := reasonsHead, 0
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			if row := reasonRow(v); row != "" {
				page += row
				rows++
			}
		}
		return true
	})
	if rows == 0 {
		return "", fmt.Errorf("parse reasons: %s declares none", file)
	}
	return page, nil
}

func reasonRow(v *ast.ValueSpec) string {
	if len(v.Values) != 1 {
		return ""
	}
	lit, ok := v.Values[0].(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	word, err := strconv.Unquote(lit.Value)
	if err != nil || word == "" {
		return ""
	}
	meaning := strings.TrimSpace(v.Comment.Text())
	if meaning == "" { // the word says it
		meaning = strings.ReplaceAll(word, "_", " ")
	}
	return fmt.Sprintf("| `%s` | %s |\n", word, meaning)
}
