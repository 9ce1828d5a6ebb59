//go:build !break_drain

package engine

// drainFirst keeps I2: a partition is handed over when nothing of it is in flight.
const drainFirst = true
