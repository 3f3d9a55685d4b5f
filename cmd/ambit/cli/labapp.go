package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ambitmesh/ambit/internal/lab/app"
)

// labAppCmd is the program inside a lab's pods. It is hidden: it is of no use outside of one.
func labAppCmd() *cobra.Command {
	return &cobra.Command{
		Use:                "lab-app",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if code := app.Main(args); code != 0 {
				return fmt.Errorf("lab-app: exit code %d", code)
			}
			return nil
		},
	}
}
