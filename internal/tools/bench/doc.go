// Package bench measures any Kafka broker as a client would: throughput,
// latency counted from the time a record was due, and what the broker's process
// spent on it.
//
// # How it measures
//
// A run has a warm-up, a window and a drain. Throughput counts what was answered
// inside the window. A latency belongs to the window if its record was due
// there, however late its answer came: the drain waits for it, and what never
// came is recorded at the age it had and listed among the errors.
//
// A closed loop (no rate) keeps a fixed number of requests in flight and finds
// the highest throughput; its latencies say how long the chosen queues are. An
// open loop sends by the clock: the n-th item is due n ÷ rate after the start
// and its latency counts from then, whether or not the broker was ready for it.
// What waits is bounded by --queue; older items beyond it are dropped, and counted.
//
// # What a record carries
//
// The workloads that consume what they produced begin every value with 32 bytes
// (integers are big-endian), random or JSON-like text follows:
//
//	off  size  field
//	  0     4  CRC32-C of everything after it
//	  4     4  magic, "KBR1"
//	  8     4  run: a random number
//	 12     4  producer: 0, 1, …
//	 16     8  sequence: 0, 1, … of that producer
//	 24     8  due: nanoseconds since 1970 at which the record was due
package bench
