package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/karst-io/karst/internal/broker"
	"github.com/karst-io/karst/internal/config"
)

func serveCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a broker",
		Long: `Run a broker. Its state is the bucket named by --store; nothing else is kept.

Every setting can also be given in the environment (KARST_ and the name in
capitals, dots as underscores) and in a YAML file (--config).`,
		Example: `  karst serve
  karst serve --store 's3://my-bucket/karst?region=eu-central-1' --advertise kafka.example.com:9092`,
		Args: cobra.NoArgs,
	}
	for _, s := range config.Table() {
		cmd.Flags().String(s.Flag(), s.Default, "`"+s.Meta+"`  "+s.Doc)
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&file, "config", "", "`FILE`  A YAML file of settings.")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		given := map[string]string{}
		cmd.Flags().Visit(func(f *pflag.Flag) {
			if f.Name != "config" {
				given[f.Name] = f.Value.String()
			}
		})
		cfg, err := config.Load(config.Source{Flags: given, Env: os.Environ(), File: file})
		if err != nil {
			return err
		}
		return serve(cmd.Context(), cfg)
	}
	return cmd
}

// serve runs a broker until it fails or a signal ends it: the first one asks
// for a clean stop, a second one abandons it.
func serve(ctx context.Context, cfg config.Config) error {
	log, level := logger(cfg)
	b, err := broker.NewWith(cfg, log, versionString(), broker.Options{LogLevel: level})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	select {
	case err := <-ended:
		return err
	case s := <-signals:
		log.Info("stopping; a second signal abandons what is not yet stored", "signal", s.String())
		stop()
	}
	select {
	case err := <-ended:
		return err
	case s := <-signals:
		return errors.New("second signal (" + s.String() + "), abandoning: " + b.Abandoned())
	}
}

// logger makes the log, and the level that clients may change.
func logger(cfg config.Config) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		panic("BUG: log level was checked: " + err.Error())
	}
	o := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o)), level
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o)), level
}
