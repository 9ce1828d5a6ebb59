package main

import (
	"github.com/spf13/cobra"

	"github.com/karst-io/karst/internal/tools/bench"
)

func benchCommand() *cobra.Command { return bench.Command() }
