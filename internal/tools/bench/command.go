package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// workload is a way to load a broker.
type workload struct {
	name, short, example string
	run                  func(context.Context, Settings, io.Writer) (*Report, error)
}

func workloads() []workload {
	return []workload{
		{"raw", "Replay batches that were encoded once, over plain connections", "karst bench raw --connections 4 --batch-bytes 1MiB --broker-pid 4711", Raw},
		{"produce", "Produce with an ordinary client", "karst bench produce --idempotent --producers 2 --rate 20MB", Produce},
		{"consume", "Read a topic from its start or its tail", "karst bench consume --fill 2GB --raw --passes 3", Consume},
		{"e2e", "Produce by the clock and read the tail: latency from end to end", "karst bench e2e --rate 2MB --partitions 1 --verify", EndToEnd},
		{"catchup", "Read history at full speed under a steady produce load", "karst bench catchup --fill 2GB --raw --rate 2MB", Catchup},
		{"groups", "Run consumer groups that join, send heartbeats and commit offsets by the clock", "karst bench groups --groups 1000 --members 10 --rate 5000r", Groups},
	}
}

// Command is `karst bench`.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a broker, any Kafka",
		Long: `Measure a broker as a client would: Karst, or any other that speaks Kafka's protocol.

With --rate a run is an open loop: each record is due by the clock, and its latency
counts from then, so that a stall of the broker is not hidden. Without it, a closed
loop finds the highest throughput. With --broker-pid, what the broker's process spent
is measured too. To give a broker a core of its own, start both under taskset.`,
		Args: cobra.NoArgs,
	}
	for _, w := range workloads() {
		cmd.AddCommand(workloadCommand(w))
	}
	cmd.AddCommand(diskCommand(), compareCommand(), chartCommand())
	return cmd
}

func workloadCommand(w workload) *cobra.Command {
	s := Defaults()
	cmd := &cobra.Command{Use: w.name, Short: w.short, Example: "  " + w.example, Args: cobra.NoArgs}
	s.Flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := s.Check(); err != nil {
			return err
		}
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		rep, err := w.run(ctx, s, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		return write(cmd.OutOrStdout(), rep, s.Format)
	}
	return cmd
}

func diskCommand() *cobra.Command {
	s := DiskDefaults()
	cmd := &cobra.Command{
		Use: "disk", Short: "Probe a folder: create and sync files, by the clock", Args: cobra.NoArgs,
		Example: "  karst bench disk --dir /var/lib/karst --size 50kB --rate 2MB",
	}
	s.Flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		rep, err := Disk(ctx, s, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		return write(cmd.OutOrStdout(), rep, s.Format)
	}
	return cmd
}

// interruptible lets a run that is stopped delete what it made.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}

func write(w io.Writer, rep *Report, format string) error {
	err := rep.WriteText
	if format == "json" {
		err = func(w io.Writer) error { return WriteJSON(w, rep) }
	}
	if err := err(w); err != nil {
		return err
	}
	if rep.Verify.Failed() {
		return errors.New("verification failed: acknowledged records are lost, duplicated, reordered or corrupt")
	}
	return nil
}

// side is what differs between the two of a comparison.
type side struct {
	name    string
	brokers []string
	pids    []int
	configs []string
}

func (d *side) flags(f *pflag.FlagSet, letter string) {
	f.StringVar(&d.name, letter+"-name", letter, "the name of "+letter)
	f.StringSliceVar(&d.brokers, letter+"-brokers", nil, "the brokers of "+letter)
	f.IntSliceVar(&d.pids, letter+"-pid", nil, "the processes of "+letter+", to be measured; repeatable")
	f.StringArrayVar(&d.configs, letter+"-topic-config", nil, "KEY=VALUE for topics made on "+letter+"; repeatable")
}

func (d *side) contender(w workload, s Settings, progress io.Writer) Contender {
	s.Brokers, s.BrokerPIDs = d.brokers, d.pids
	s.TopicConfig = slices.Concat(s.TopicConfig, d.configs)
	return Contender{d.name, func(ctx context.Context) (*Report, error) { return w.run(ctx, s, progress) }}
}

// comparison is the settings of `karst bench compare`.
type comparison struct {
	a, b               side
	disk               DiskSettings // instead of b, if it has a folder
	rounds, rehearsals int
	format             string
}

func compareCommand() *cobra.Command {
	c := comparison{disk: DiskDefaults()}
	c.disk.Bandwidth = 0
	cmd := &cobra.Command{
		Use:   "compare --a-brokers LIST [--a-pid PID] --b-brokers LIST [--b-pid PID] -- WORKLOAD [flags]",
		Short: "Run a workload against two brokers in turns, or against a broker and a folder",
		Example: `  karst bench compare --a-brokers 127.0.0.1:9092 --a-pid 11 --b-brokers 127.0.0.1:9192 --b-pid 12 -- raw --connections 4
  karst bench compare --rounds 5 --a-brokers 127.0.0.1:9092 --b-disk /var/lib/karst -- raw --rate 2MB --duration 30s`,
		Args: cobra.MinimumNArgs(1),
	}
	f := cmd.Flags()
	f.SortFlags = false
	c.a.flags(f, "a")
	c.b.flags(f, "b")
	f.StringVar(&c.disk.Dir, "b-disk", "", "b is the probe of this folder, at the workload's rate and duration")
	f.Var(&c.disk.Size, "b-disk-size", "bytes of each file of the probe")
	f.IntVar(&c.rounds, "rounds", 3, "rounds: a b, b a, a b, …")
	f.IntVar(&c.rehearsals, "rehearsals", 1, "rounds before that do not count")
	f.StringVar(&c.format, "format", "text", "text or json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		result, err := c.run(ctx, args, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		if c.format == "json" {
			return WriteJSON(cmd.OutOrStdout(), result)
		}
		return result.WriteText(cmd.OutOrStdout())
	}
	return cmd
}

func (c *comparison) run(ctx context.Context, args []string, progress io.Writer) (*Comparison, error) {
	w, s, err := parseWorkload(args)
	if err != nil {
		return nil, err
	}
	if len(c.a.brokers) == 0 || len(c.b.brokers) == 0 && c.disk.Dir == "" {
		return nil, errors.New("compare needs --a-brokers, and --b-brokers or --b-disk")
	}
	a, b := c.a.contender(w, s, progress), c.b.contender(w, s, progress)
	if c.disk.Dir != "" {
		disk := c.disk
		disk.Rate, disk.Warmup, disk.Duration = Size(s.bytesPerSecond()), s.Warmup, s.Duration
		b = Contender{"disk", func(ctx context.Context) (*Report, error) { return Disk(ctx, disk, progress) }}
	}
	return Compare(ctx, a, b, c.rehearsals, c.rounds, progress)
}

// parseWorkload reads a workload's name and flags.
func parseWorkload(args []string) (workload, Settings, error) {
	s := Defaults()
	all := workloads()
	i := slices.IndexFunc(all, func(w workload) bool { return w.name == args[0] })
	if i < 0 {
		var names []string
		for _, w := range all {
			names = append(names, w.name)
		}
		return workload{}, s, fmt.Errorf("workload %q: it is one of %s", args[0], strings.Join(names, ", "))
	}
	f := pflag.NewFlagSet(args[0], pflag.ContinueOnError)
	s.Flags(f)
	if err := f.Parse(args[1:]); err != nil {
		return workload{}, s, err
	}
	if f.NArg() > 0 {
		return workload{}, s, fmt.Errorf("%s takes no argument %q", args[0], f.Arg(0))
	}
	return all[i], s, s.Check()
}
