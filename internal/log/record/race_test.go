//go:build race

package record

const race = true
