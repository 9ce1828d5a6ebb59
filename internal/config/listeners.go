package config

import (
	"fmt"
	"strings"
)

// Listener is an address at which Kafka clients connect.
type Listener struct {
	Name      string // "" of the only one, if it has none
	Listen    string // HOST:PORT
	Advertise string // HOST:PORT, or "" to derive it
}

// Listeners are the listeners of listen and advertise, of which the first one is
// that of other brokers' tools. Each of the two is HOST:PORT, or a list of
// NAME://HOST:PORT as in Kafka's listeners.
func (c *Config) Listeners() ([]Listener, error) {
	all, err := parseListeners("listen", c.Listen, false)
	if err != nil {
		return nil, err
	}
	if c.Advertise == "" {
		return all, nil
	}
	told, err := parseListeners("advertise", c.Advertise, true)
	if err != nil {
		return nil, err
	}
	for _, t := range told {
		found := false
		for n := range all {
			if all[n].Name == t.Name {
				all[n].Advertise, found = t.Listen, true
			}
		}
		if !found {
			return nil, fmt.Errorf("advertise: there is no listener %q; listen is %q", t.Name, c.Listen)
		}
	}
	return all, nil
}

func parseListeners(name, v string, told bool) ([]Listener, error) {
	if !strings.Contains(v, "://") {
		return []Listener{{Listen: v}}, checkAddress(name, v, told)
	}
	var all []Listener
	for item := range strings.SplitSeq(v, ",") {
		is, addr, ok := strings.Cut(strings.TrimSpace(item), "://")
		if !ok || is == "" {
			return nil, fmt.Errorf("%s: %q is not NAME://HOST:PORT", name, item)
		}
		if err := checkAddress(name, addr, told); err != nil {
			return nil, err
		}
		for _, l := range all {
			if l.Name == is {
				return nil, fmt.Errorf("%s: two listeners are called %q", name, is)
			}
		}
		all = append(all, Listener{Name: is, Listen: addr})
	}
	return all, nil
}
