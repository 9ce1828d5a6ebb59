package effective

import (
	"fmt"
	"strings"

	"github.com/karst-io/karst/internal/config/broker"
	"github.com/karst-io/karst/internal/config/key"
)

var effects = map[configkey.Effect]string{configkey.Honoured: "yes", configkey.Echoed: "shown", configkey.Later: "later"}

var updates = map[brokerconfig.Update]string{
	brokerconfig.ReadOnly: "no", brokerconfig.ClusterWide: "yes", brokerconfig.PerBroker: "of a broker", brokerconfig.PerListener: "of a listener",
}

// Reference is the page about Kafka's configs, docs/configs.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Kafka's configs

Generated from the tables in ` + "`internal/config`" + `. Every config of Apache Kafka 4.3 is known, with its type, default and rules, and can be described.
*Honoured*: **yes**, as in Kafka; **shown**: accepted, kept and shown, but without meaning on a bucket; **later**: the same, until Karst compacts by key.
What is set of a topic counts more than what is set of the broker, that more than what is set of all brokers, that more than [settings](settings.md), those more than the default.

## Topics

| Config | Default | Honoured | Default set by | What it does |
|---|---|---|---|---|
`)
	for _, k := range table().topics {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.Name, code(k.Default), effects[k.Effect], code(k.Server...), k.Doc)
	}
	b.WriteString(`
## Brokers

*Dynamic* configs can be changed while brokers run, of one or of all. These have an effect:

| Config | Default | Dynamic | Honoured | What it does |
|---|---|---|---|---|
`)
	others := map[bool]int{}
	for _, k := range table().brokers {
		if k.Effect == configkey.Echoed {
			others[k.Update != brokerconfig.ReadOnly]++
			continue
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.Name, code(k.Default), updates[k.Update], effects[k.Effect], k.Doc)
	}
	fmt.Fprintf(&b, "\n%d others are shown at Kafka's default and cannot be changed. %d can, as in Kafka, and are shown with what was set; but those of a broker or listener, which are about listeners and their security, are refused.\n", others[false], others[true])
	for _, of := range []struct {
		title, about string
		keys         []configkey.Key
	}{
		{"Groups", "They are about group protocols that Karst does not serve yet (KIP-848, KIP-932, KIP-1071). Broker configs below `group.` set their defaults and bounds.", table().groups},
		{"Client metrics", "Subscriptions of KIP-714: they can be managed; clients are not asked to push.", table().metrics},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| Config | Default | Honoured | What it does |\n|---|---|---|---|\n", of.title, of.about)
		for _, k := range of.keys {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Name, code(k.Default), effects[k.Effect], k.Doc)
		}
	}
	return b.String()
}

func code(values ...string) string {
	var quoted []string
	for _, v := range values {
		if v != "" {
			quoted = append(quoted, "`"+v+"`")
		}
	}
	return strings.Join(quoted, ", ")
}
