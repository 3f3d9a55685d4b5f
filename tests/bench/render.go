package main

import (
	"errors"
)

func renderMain(args []string) error {
	if len(args) != 2 {
		return errors.New("render: want the directory of results and the page's")
	}
	return render(args[0], args[1])
}

func render(from, to string) error { return nil }
