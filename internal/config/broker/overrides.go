package brokerconfig

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// PerIP parses max.connections.per.ip.overrides: how many connections an address
// may have, such as 10.0.0.1:100,::1:5. Names are refused, other than in Kafka:
// what they stand for changes.
func PerIP(v string) (map[netip.Addr]int, error) {
	m := map[netip.Addr]int{}
	for part := range strings.SplitSeq(v, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		at := strings.LastIndexByte(part, ':')
		if at < 0 {
			return nil, fmt.Errorf("%q is not an address and a number", part)
		}
		count := strings.TrimSpace(part[at+1:])
		n, err := strconv.ParseInt(count, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("For input string: %q", count) //nolint:staticcheck // Kafka's words
		}
		if n < 0 {
			return nil, fmt.Errorf("%d is no number of connections, it must be 0 to %d", n, math.MaxInt32)
		}
		addr, err := netip.ParseAddr(strings.Trim(strings.TrimSpace(part[:at]), "[]"))
		if err != nil {
			return nil, fmt.Errorf("%q is not an address", part[:at])
		}
		m[addr.Unmap()] = int(n)
	}
	return m, nil
}

func checkPerIP(v string) string {
	if _, err := PerIP(v); err != nil {
		return err.Error()
	}
	return ""
}
