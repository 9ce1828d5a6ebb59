//go:build !break_whole

package flush

// checkApplied has the flusher check what a request has done.
const checkApplied = true
