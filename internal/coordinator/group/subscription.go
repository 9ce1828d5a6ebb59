package group

import "encoding/binary"

// subscribedTopics adds the topics of a member's subscription to topics. It reads
// version 0 of Kafka's ConsumerProtocolSubscription, with which every later
// version begins:
//
//	version  int16   whatever
//	count    int32   not negative
//	topics   count × (int16 length, not negative; bytes)
//	userData int32 length, -1 for none; bytes
//
// It is false if the bytes, which come from clients, are something else. What it
// allocates is bounded by their length.
func subscribedTopics(b []byte, topics map[string]struct{}) bool {
	if len(b) < 6 {
		return false
	}
	count := int32(binary.BigEndian.Uint32(b[2:])) //nolint:gosec // the sign is what is looked at
	b = b[6:]
	if count < 0 || int64(count)*2 > int64(len(b)) {
		return false
	}
	for range count {
		if len(b) < 2 {
			return false
		}
		n := int(int16(binary.BigEndian.Uint16(b))) //nolint:gosec // as above
		b = b[2:]
		if n < 0 || n > len(b) {
			return false
		}
		topics[string(b[:n])] = struct{}{}
		b = b[n:]
	}
	if len(b) < 4 {
		return false
	}
	n := int64(int32(binary.BigEndian.Uint32(b))) //nolint:gosec // as above
	return n <= int64(len(b)-4)
}
