package config

import (
	"fmt"
	"strings"
)

// Reference is the reference page, docs/settings.md.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Settings\n\nGenerated from the table in `internal/config`. A flag wins over the environment, that over the file, that over the default.\nUnknown names are refused.\n\n")
	b.WriteString("| Flag and file | Environment | Default | What it does |\n|---|---|---|---|\n")
	for _, s := range Table() {
		fmt.Fprintf(&b, "| `%s` %s | `%s` | `%s` | %s |\n", s.Name, s.Meta, s.Env(), s.Default, s.Doc)
	}
	b.WriteString("| `config` FILE | `KARST_CONFIG` | | A YAML file of settings. |\n")
	return b.String()
}

// Example is a configuration file with every setting at its default, docs/karst.example.yaml.
func Example() string {
	var b strings.Builder
	b.WriteString("# Every setting at its default. Generated from the table in internal/config.\n")
	for _, s := range Table() {
		fmt.Fprintf(&b, "\n# %s\n%s: %q\n", s.Doc, s.Name, s.Default)
	}
	return b.String()
}
