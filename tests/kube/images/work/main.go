// Command work is the tests' workload: a server that says who it is and who asked, and the clients that
// tests run in pods with kubectl exec.
//
//	work serve [LINGER]               HTTP :8080, TCP echo :9090, gRPC health :9091; from SIGTERM on for LINGER
//	work get URL [TIMEOUT]            one GET; the body on standard output
//	work load ADDRESS FOR [EVERY]     a new connection each EVERY, echoed; what failed, and how often
//	work hold ADDRESS FOR             one connection, used all the time; fails if it ends before
//	work follow URL [EVERY]           GETs without end; prints when the outcome changes
//	work peer ADDRESS                 one connection; getpeername's answer
//	work lookup NAME                  addresses of a name
//	work sign TOKEN-FILE ADDRESS ROOT IDENTITY     a certificate from the mesh's CA
//	work xds TOKEN-FILE ADDRESS ROOT               the proxies' configuration from the mesh's controller
//	work patch TOKEN-FILE ADDRESS ROOT PATH JSON   a merge patch at the API server; its status
//	work webhook                      an admission webhook on :8443
//	work sleep FOR
//
// SIGTERM ends load, hold and follow as if the time were over.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("what to do?"))
	}
	args := append(os.Args[2:], make([]string, 5)...)
	var err error
	switch os.Args[1] {
	case "serve":
		err = serve(duration(args[0], 500*time.Millisecond))
	case "get":
		err = get(args[0], duration(args[1], 5*time.Second))
	case "load":
		err = load(untilTold(), args[0], duration(args[1], time.Second), duration(args[2], 20*time.Millisecond))
	case "hold":
		err = hold(untilTold(), args[0], duration(args[1], time.Second))
	case "follow":
		err = follow(untilTold(), args[0], duration(args[1], 20*time.Millisecond))
	case "peer":
		err = peer(args[0])
	case "lookup":
		var all []string
		all, err = net.LookupHost(args[0])
		fmt.Println(all)
	case "sign":
		err = sign(args[0], args[1], args[2], args[3])
	case "xds":
		err = xds(args[0], args[1], args[2])
	case "patch":
		err = patch(args[0], args[1], args[2], args[3], args[4])
	case "webhook":
		err = webhook()
	case "sleep":
		time.Sleep(duration(args[0], time.Second))
	default:
		err = fmt.Errorf("unknown: %s", os.Args[1])
	}
	if err != nil {
		fail(err)
	}
}

// untilTold ends at SIGTERM.
func untilTold() context.Context {
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	return ctx
}

func duration(s string, otherwise time.Duration) time.Duration {
	if d, err := time.ParseDuration(s); err == nil {
		return d
	}
	return otherwise
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
