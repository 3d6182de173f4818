// Program interop is the Go side of covey's interoperability tests and benchmarks: the public ttrpc
// module for Go, as a server, as a client that checks a server, as the recorder of the golden
// transcripts, and as a load generator. The README one folder up says how each is used.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
)

type command struct {
	usage string
	// run gets the flags declared on the set before they are parsed, and what to call after.
	run func(flags *flag.FlagSet) func(target string) error
}

var commands = map[string]command{
	"serve":        {"serve ADDRESS: the test service until SIGTERM", serveCommand},
	"bench-server": {"bench-server ADDRESS: the same, named for the benchmarks", serveCommand},
	"check":        {"check ADDRESS: runs every case against a server, one JSON line each", checkCommand},
	"bench-client": {"bench-client ADDRESS: measures a server, one JSON line", benchCommand},
	"hold":         {"hold ADDRESS: opens idle and busy connections, one JSON line", holdCommand},
	"record":       {"record FOLDER: writes the golden transcripts", recordCommand},
	"proxy":        {"proxy ADDRESS: records one connection between two other programs", proxyCommand},
	"middle":       {"middle ADDRESS: a service between a client and a backend", middleCommand},
	"oddities":     {"oddities FOLDER: shows what Go's own server and client do in edge cases", odditiesCommand},
}

func main() {
	if err := dispatch(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

func dispatch(arguments []string) error {
	if len(arguments) < 2 {
		return fmt.Errorf("usage: interop COMMAND TARGET [flags]\n%s", usages())
	}
	chosen, ok := commands[arguments[0]]
	if !ok {
		return fmt.Errorf("unknown command %q\n%s", arguments[0], usages())
	}
	flags := flag.NewFlagSet(arguments[0], flag.ExitOnError)
	run := chosen.run(flags)
	if err := flags.Parse(arguments[2:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return run(arguments[1])
}

func usages() string {
	var lines []string
	for _, name := range []string{"serve", "bench-server", "check", "bench-client", "hold", "record", "proxy", "middle", "oddities"} {
		lines = append(lines, "  "+commands[name].usage)
	}
	return strings.Join(lines, "\n")
}
