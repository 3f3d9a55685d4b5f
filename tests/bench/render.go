package main

import (
	"errors"

	"github.com/ambitmesh/ambit/tests/bench/page"
	"github.com/ambitmesh/ambit/tests/bench/report"
)

// renderMain writes the page of results that are there.
func renderMain(args []string) error {
	if len(args) != 2 {
		return errors.New("render: want the directory of results and the page's")
	}
	return render(args[0], args[1])
}

func render(from, to string) error {
	rows, m, err := report.Load(from)
	if err != nil {
		return err
	}
	return page.Write(to, rows, m)
}
