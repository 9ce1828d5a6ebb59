//go:build !break_nonce

package objlog

// checkNonce is false only in the build that must lose data, which proves that
// the history checker bites.
const checkNonce = true
