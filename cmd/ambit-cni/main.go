// Command ambit-cni is a chained CNI plugin: a pod of a namespace in the mesh gets its network only once
// the agent has captured it, so that its first packet goes through the mesh.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Getenv, os.Stdin, os.Stdout))
}
