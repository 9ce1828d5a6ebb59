//go:build !break_seal

package metadata

// sealFirst: a term is sealed before the next one is claimed.
const sealFirst = true
