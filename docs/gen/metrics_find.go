package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// metric is one as the code declares it.
type metric struct {
	name, kind, help string
	labels           []string
}

// metricsBelow finds what the packages below a directory declare. A name that is not understood is an
// error, so that none is missing from the page.
func metricsBelow(root, dir string) (all []metric, err error) {
	err = filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parse: %w", err)
		}
		found, err := metricsOf(file)
		all = append(all, found...)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
	return all, err
}

var metricName = regexp.MustCompile(`^(ambit|istio)_[a-z0-9_]+$`)

func metricsOf(file *ast.File) (all []metric, err error) {
	if !imports(file, "github.com/prometheus/client_golang/prometheus") {
		return nil, nil
	}
	var stack []ast.Node
	ast.Inspect(file, func(n ast.Node) bool {
		if n == nil {
			stack = stack[:len(stack)-1]
			return true
		}
		if name := text(n); metricName.MatchString(name) {
			m := declared(file, name, stack)
			if m.help == "" || m.kind == "" {
				err = errors.Join(err, fmt.Errorf("metric %s: its help or its kind was not found", name))
			}
			all = append(all, m)
		}
		stack = append(stack, n)
		return true
	})
	return all, err
}

func imports(file *ast.File, path string) bool {
	return slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == strconv.Quote(path) })
}

// text is the value of a string literal, else "".
func text(n ast.Node) string {
	lit, ok := n.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		return ""
	}
	return s
}

// declared reads a metric from what its name stands in: options, a call that makes it, or a row of a
// table. stack ends with the innermost.
func declared(file *ast.File, name string, stack []ast.Node) metric {
	m := metric{name: name}
	at := func(i int) ast.Node {
		if i > len(stack) {
			return nil
		}
		return stack[len(stack)-i]
	}
	if _, ok := at(1).(*ast.KeyValueExpr); ok {
		options, _ := at(2).(*ast.CompositeLit)
		m.fromOptions(options)
		if call, ok := at(3).(*ast.CallExpr); ok {
			m.labels = listed(call)
		}
		return m
	}
	switch parent := at(1).(type) {
	case *ast.CallExpr:
		m.fromCall(file, parent, stack)
	case *ast.CompositeLit:
		m.help = after(parent.Elts, name)
		for _, outer := range slices.Backward(stack) {
			if f, ok := outer.(*ast.FuncDecl); ok {
				m.kind = kindIn(f)
			}
		}
	}
	return m
}

func (m *metric) fromOptions(options *ast.CompositeLit) {
	if options == nil {
		return
	}
	m.kind = kindIn(options.Type)
	for _, e := range options.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok && ident(kv.Key) == "Help" {
			m.help = text(kv.Value)
		}
	}
}

// fromCall reads prometheus.NewDesc(name, help, labels, nil), or maker(name, help, label...) of a
// function in the same file.
func (m *metric) fromCall(file *ast.File, call *ast.CallExpr, stack []ast.Node) {
	m.help, m.labels = after(call.Args, m.name), listed(call)
	maker := ident(call.Fun)
	if maker == "NewDesc" {
		for _, outer := range slices.Backward(stack) {
			if v, ok := outer.(*ast.ValueSpec); ok && len(v.Names) == 1 {
				m.kind = kindOfDesc(file, v.Names[0].Name)
				return
			}
		}
	}
	body := function(file, maker)
	m.kind = kindIn(body)
	m.labels = append(m.labels, listed(body)...)
	for _, a := range call.Args[min(2, len(call.Args)):] {
		if s := text(a); s != "" {
			m.labels = append(m.labels, s)
		}
	}
}

// after is the string literal behind the one that is name.
func after(list []ast.Expr, name string) string {
	for i, e := range list {
		if text(e) == name && i+1 < len(list) {
			return text(list[i+1])
		}
	}
	return ""
}

func ident(n ast.Node) string {
	switch x := n.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	}
	return ""
}

// listed collects the literals of a []string below n.
func listed(n ast.Node) (labels []string) {
	if n == nil {
		return nil
	}
	ast.Inspect(n, func(n ast.Node) bool {
		if c, ok := n.(*ast.CompositeLit); ok {
			if array, ok := c.Type.(*ast.ArrayType); ok && ident(array.Elt) == "string" {
				for _, e := range c.Elts {
					if s := text(e); s != "" {
						labels = append(labels, s)
					}
				}
			}
		}
		return true
	})
	return labels
}

var kinds = []string{"Counter", "Gauge", "Histogram", "Summary"}

// kindIn is the kind that identifiers of Prometheus' package below n speak of: NewCounterVec,
// GaugeOpts, CounterValue.
func kindIn(n ast.Node) (kind string) {
	if n == nil {
		return ""
	}
	ast.Inspect(n, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok || ident(s.X) != "prometheus" || kind != "" {
			return true
		}
		for _, k := range kinds {
			if strings.HasPrefix(strings.TrimPrefix(s.Sel.Name, "New"), k) {
				kind = strings.ToLower(k)
			}
		}
		return true
	})
	return kind
}

// kindOfDesc follows a description to where its values are made, directly or in a local function.
func kindOfDesc(file *ast.File, desc string) (kind string) {
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 || ident(call.Args[0]) != desc || kind != "" {
			return true
		}
		if kind = kindIn(call); kind == "" {
			kind = kindIn(function(file, ident(call.Fun)))
		}
		return true
	})
	return kind
}

// function finds a function, or a variable that holds one, by its name.
func function(file *ast.File, name string) (found ast.Node) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.FuncDecl:
			if x.Name.Name == name {
				found = x
			}
		case *ast.AssignStmt:
			if len(x.Lhs) == 1 && len(x.Rhs) == 1 && ident(x.Lhs[0]) == name {
				if f, ok := x.Rhs[0].(*ast.FuncLit); ok {
					found = f
				}
			}
		}
		return true
	})
	return found
}
