// Package kafka is the Kafka listener: frames, connections, the pipeline of
// requests, and one file per API that translates to the domain and back.
//
// # The life of a request
//
// A connection has two goroutines. The reader reads a frame, decodes it and
// calls the API's apply function; requests of one connection are thus applied
// one at a time, in order. What apply returns is a [Pending]: an applied
// request whose answer may have to wait. The writer takes pendings in order,
// waits for the one at the head, encodes and writes. Only waiting overlaps, so
// answers keep the order of the requests (section 3 of the architecture).
//
// The pipeline of a connection is bounded by a count and by the bytes of the
// frames in it; a full pipeline stops the reader, and TCP stops the client.
//
// # Memory
//
// Until the 4-byte size of a frame is read a connection holds no buffer. Small
// frames lie in pooled buffers; the memory of larger ones is drawn from a budget
// that all connections share, and grows with the bytes that have arrived, not
// with the bytes that were claimed.
package kafka
