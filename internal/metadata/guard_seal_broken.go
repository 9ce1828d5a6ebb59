//go:build break_seal

package metadata

// sealFirst is off in this mutation: a claim says that the term before it ended
// where its writer saw it end. The history checker must notice.
const sealFirst = false
