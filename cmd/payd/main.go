// Command payd is the reference payment service. It is configured by its environment; payd -help names the variables.
//
// Exit codes: 0 after a clean end, 1 if it failed, 2 for a usage or configuration error.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"holdfast/internal/payd"
)

func main() { os.Exit(run()) }

func run() int {
	flags := flag.NewFlagSet("payd", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(os.Stderr, payd.Usage) }
	debug := flags.Bool("debug", false, "log more")
	if err := flags.Parse(os.Args[1:]); err != nil {
		if err == flag.ErrHelp {
			return 0
		}
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "payd: unexpected argument %q; payd -help says more\n", flags.Arg(0))
		return 2
	}
	level := slog.LevelInfo
	if *debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: level}))
	config, err := payd.ReadConfig(os.Getenv)
	if err != nil {
		fmt.Fprintf(os.Stderr, "payd: %v\n", err)
		return 2
	}
	app, err := payd.New(config, log)
	if err != nil {
		fmt.Fprintf(os.Stderr, "payd: %v\n", err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := app.Run(ctx); err != nil {
		log.Error("payd ended", "error", err)
		return 1
	}
	return 0
}
