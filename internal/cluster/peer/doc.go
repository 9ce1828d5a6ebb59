// Package peer carries what brokers of one cluster say to each other: protobuf
// over Connect, on a listener of its own, under mutual TLS.
//
// Both ends prove that they are of the cluster. Either with certificates of an
// authority that the operator names, or, when nothing is configured, with ones of
// an authority that is derived from a secret: a setting, or else what only those
// who can read the bucket know. A broker of another cluster, or anybody else,
// fails in the handshake. (Rejected: a token in a header, which whoever listens on
// the network could use as well.)
package peer

//go:generate go -C ../../../tools/protogen run . ../../internal/cluster/peer/peerpb/peer.proto
