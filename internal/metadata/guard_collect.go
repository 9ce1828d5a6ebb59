//go:build !break_collect

package metadata

// adoptedOnly keeps I15: what lies above a trim is garbage when its incarnation
// was adopted, and not before.
const adoptedOnly = true
