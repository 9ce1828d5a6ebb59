//go:build !break_prefix

package wal

// checkPrefix keeps I1: acknowledge in number order.
const checkPrefix = true
