// Command karst is the whole of Karst: the broker and its tools.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	root := &cobra.Command{
		Use:           "karst",
		Short:         "A Kafka-compatible streaming platform whose only durable state is a bucket",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(serveCommand(), brokerCommand(), benchCommand(), versionCommand())
	if err := root.ExecuteContext(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "karst:", err)
		os.Exit(1)
	}
}
