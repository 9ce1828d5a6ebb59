package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/config"
	"github.com/karst-io/karst/internal/tools/cluster"
)

// brokerCommand is about the brokers of a cluster, which is found in its bucket.
func brokerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "broker", Short: "List, drain, balance and upgrade the brokers of a cluster", Args: cobra.NoArgs,
	}
	wait := time.Minute
	cmd.PersistentFlags().DurationVar(&wait, "timeout", wait, "`DURATION`  How long to wait.")
	for _, s := range config.Table() {
		if s.Name == "store" || s.Name == "peer.secret" || strings.HasPrefix(s.Name, "peer.tls.") {
			cmd.PersistentFlags().String(s.Flag(), s.Default, "`"+s.Meta+"`  "+s.Doc)
		}
	}
	// with runs f on the cluster.
	with := func(f func(ctx context.Context, c *cluster.Cluster, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			given := map[string]string{}
			cmd.Flags().Visit(func(f *pflag.Flag) {
				if slices.ContainsFunc(config.Table(), func(s config.Setting) bool { return s.Name == f.Name }) {
					given[f.Name] = f.Value.String()
				}
			})
			cfg, err := config.Load(config.Source{Flags: given, Env: os.Environ()})
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), wait)
			defer cancel()
			c, err := cluster.Open(ctx, cfg)
			if err != nil {
				return err
			}
			return errors.Join(f(ctx, c, cmd, args), c.Close())
		}
	}
	cmd.AddCommand(&cobra.Command{
		Use: "list", Short: "List the brokers", Args: cobra.NoArgs,
		RunE: with(func(ctx context.Context, c *cluster.Cluster, cmd *cobra.Command, _ []string) error {
			return printLines(cmd, append(c.Brokers(ctx), c.Level()))
		}),
	}, &cobra.Command{
		Use: "balance", Short: "Say what the balancer would move now, and why: it moves by itself", Args: cobra.NoArgs,
		RunE: with(func(ctx context.Context, c *cluster.Cluster, cmd *cobra.Command, _ []string) error {
			lines, err := c.Explain(ctx)
			return errors.Join(err, printLines(cmd, lines))
		}),
	}, drainCommand(with), upgradeCommand(with), &cobra.Command{
		Use: "undrain ID", Short: "Let a broker lead partitions again", Args: cobra.ExactArgs(1),
		RunE: with(func(ctx context.Context, c *cluster.Cluster, _ *cobra.Command, args []string) error {
			id, err := parseBroker(args[0])
			if err != nil {
				return err
			}
			return c.Drain(ctx, id, false)
		}),
	})
	return cmd
}

// withCluster makes a command of what is to be done with a cluster.
type withCluster func(func(context.Context, *cluster.Cluster, *cobra.Command, []string) error) func(*cobra.Command, []string) error

func drainCommand(with withCluster) *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use: "drain ID", Short: "Give everything that a broker leads to others, until undrain; returns when it leads nothing", Args: cobra.ExactArgs(1),
		RunE: with(func(ctx context.Context, c *cluster.Cluster, cmd *cobra.Command, args []string) error {
			id, err := parseBroker(args[0])
			if err != nil {
				return err
			}
			if dry {
				lines, err := c.Explain(ctx, id)
				return errors.Join(err, printLines(cmd, lines))
			}
			return c.Drain(ctx, id, true)
		}),
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "Say what would be moved, and why, and move nothing.")
	return cmd
}

func upgradeCommand(with withCluster) *cobra.Command {
	var level int32
	cmd := &cobra.Command{
		Use: "upgrade", Short: "Let the brokers write what older programs do not read: there is no way back", Args: cobra.NoArgs,
		RunE: with(func(ctx context.Context, c *cluster.Cluster, cmd *cobra.Command, _ []string) error {
			before, after, err := c.Upgrade(ctx, level)
			if err != nil {
				return err
			}
			return printLines(cmd, []string{fmt.Sprintf("level %d, before: %d", after, before)})
		}),
	}
	cmd.Flags().Int32Var(&level, "level", 0, "`N`  The level to raise to; by default as high as all live brokers read.")
	return cmd
}

func parseBroker(v string) (karst.BrokerID, error) {
	id, err := strconv.ParseInt(v, 10, 32)
	if err != nil || id < 0 {
		return 0, fmt.Errorf("%q is no broker id", v)
	}
	return karst.BrokerID(id), nil
}

func printLines(cmd *cobra.Command, lines []string) error {
	for _, l := range lines {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), l); err != nil {
			return err
		}
	}
	return nil
}
