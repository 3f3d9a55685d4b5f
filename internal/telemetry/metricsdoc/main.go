// Command metricsdoc writes the reference of the proxy's metrics to the file that it is given.
package main

import (
	"fmt"
	"os"

	"github.com/ambitmesh/ambit/internal/telemetry"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: metricsdoc <file>")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], telemetry.Reference(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "write the metrics reference:", err)
		os.Exit(1)
	}
}
