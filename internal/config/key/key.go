// Package configkey is one of Kafka's configs: its name, its type and the rules
// for its values, with Apache Kafka's words for what breaks them.
package configkey

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Kind is the type of a config's value, numbered as in Kafka's protocol.
type Kind int8

// The kinds.
const (
	Unknown  Kind = 0
	Boolean  Kind = 1
	String   Kind = 2
	Int      Kind = 3
	Short    Kind = 4
	Long     Kind = 5
	Double   Kind = 6
	List     Kind = 7
	Class    Kind = 8
	Password Kind = 9 // never shown
)

// Effect says what Karst does with a config.
type Effect uint8

// The effects.
const (
	Honoured Effect = iota // as in Kafka
	Echoed                 // accepted, stored and shown; has no meaning on a bucket
	Later                  // accepted, stored and shown; counts once keys are compacted
)

// Key is one config.
type Key struct {
	Name    string
	Kind    Kind
	Default string // as Kafka prints it
	Null    bool   // there is no default: Default is ""
	Effect  Effect
	Doc     string // one sentence

	// Server are the broker configs that set the default of a topic's or group's
	// config, by precedence.
	Server []string

	Min, Max float64                   // of a number, inclusive; NoMin and NoMax are no bounds but the kind's
	OneOf    []string                  // of a string, or of a list's elements; nil for any
	Check    func(value string) string // Kafka's sentence for what is wrong; "" if nothing is
}

// Bounds that numbers have by their kind.
const (
	NoMin = math.MinInt64
	NoMax = math.MaxInt64
)

// Number makes a key for a number in [low, high].
func Number(name string, kind Kind, def string, low, high float64, e Effect, doc string, server ...string) Key {
	return Key{Name: name, Kind: kind, Default: def, Min: low, Max: high, Effect: e, Doc: doc, Server: server}
}

// Choice makes a key for a string or a list out of allowed values.
func Choice(name string, kind Kind, def string, e Effect, doc string, oneOf []string, server ...string) Key {
	return Key{Name: name, Kind: kind, Default: def, OneOf: oneOf, Effect: e, Doc: doc, Server: server}
}

// Flag makes a key for a boolean that is false by default and only echoed.
func Flag(name, doc string, server ...string) Key {
	return Key{Name: name, Kind: Boolean, Default: "false", Effect: Echoed, Doc: doc, Server: server}
}

// Sensitive reports whether values are secret.
func (k *Key) Sensitive() bool { return k.Kind == Password || k.Kind == Unknown }

// Parse checks a value and returns it as Kafka prints it, or what is wrong, as
// Kafka says it.
func (k *Key) Parse(value string) (printed, fault string) {
	v := strings.TrimSpace(value)
	switch k.Kind {
	case Boolean:
		v = strings.ToLower(v)
		if v != "true" && v != "false" {
			return "", Invalid(k.Name, value, "Expected value to be either true or false")
		}
	case Int, Long, Short:
		v, fault = k.parseWhole(v)
	case Double:
		v, fault = k.parseDouble(v)
	case String:
		if k.OneOf != nil && !slices.Contains(k.OneOf, v) {
			fault = Invalid(k.Name, v, k.alternatives())
		}
	case List:
		v, fault = k.parseList(v)
	case Class, Password, Unknown:
	default:
		panic("BUG: config " + k.Name + " has no kind")
	}
	if fault == "" && k.Check != nil {
		fault = k.Check(v)
	}
	if fault != "" {
		return "", fault
	}
	return v, ""
}

func (k *Key) alternatives() string { return "String must be one of: " + strings.Join(k.OneOf, ", ") }

// Invalid is Kafka's sentence for a value that breaks a rule.
func Invalid(name, value, what string) string {
	return fmt.Sprintf("Invalid value %s for configuration %s: %s", shorten(value), name, what)
}

// shorten keeps a hostile value out of the error message.
func shorten(v string) string {
	if len(v) > 100 {
		return v[:100] + "…"
	}
	return v
}

var wholes = map[Kind]struct {
	bits int
	name string
}{Short: {16, "SHORT"}, Int: {32, "INT"}, Long: {64, "LONG"}}

func (k *Key) parseWhole(v string) (printed, fault string) {
	w := wholes[k.Kind]
	n, err := strconv.ParseInt(v, 10, w.bits)
	if err != nil {
		return "", Invalid(k.Name, v, "Not a number of type "+w.name)
	}
	// Bounds are small or the whole range, so that float64 tells them exactly.
	if k.Min != NoMin && n < int64(k.Min) {
		return "", Invalid(k.Name, v, "Value must be at least "+strconv.FormatInt(int64(k.Min), 10))
	}
	if k.Max != NoMax && n > int64(k.Max) {
		return "", Invalid(k.Name, v, "Value must be no more than "+strconv.FormatInt(int64(k.Max), 10))
	}
	return strconv.FormatInt(n, 10), ""
}

func (k *Key) parseDouble(v string) (printed, fault string) {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsInf(f, 0) {
		return "", Invalid(k.Name, v, "Not a number of type DOUBLE")
	}
	if !(f >= k.Min) { // NaN is refused too
		return "", Invalid(k.Name, printDouble(f), "Value must be at least "+strconv.FormatFloat(k.Min, 'f', -1, 64))
	}
	if k.Max != NoMax && f > k.Max {
		return "", Invalid(k.Name, printDouble(f), "Value must be no more than "+strconv.FormatFloat(k.Max, 'f', -1, 64))
	}
	return printDouble(f), ""
}

// printDouble prints as Java does.
func printDouble(f float64) string {
	switch abs := math.Abs(f); {
	case math.IsNaN(f):
		return "NaN"
	case abs >= 1e7 || abs < 1e-3 && abs > 0:
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'E', -1, 64), "E")
		sign, digits := strings.TrimPrefix(exponent[:1], "+"), strings.TrimLeft(exponent[1:], "0")
		if !strings.Contains(mantissa, ".") {
			mantissa += ".0"
		}
		return mantissa + "E" + sign + digits
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// parseList splits at commas; what repeats counts once.
func (k *Key) parseList(v string) (printed, fault string) {
	if v == "" {
		return "", ""
	}
	var elements []string
	for e := range strings.SplitSeq(v, ",") {
		e = strings.TrimSpace(e)
		switch {
		case e == "":
			return "", fmt.Sprintf("Configuration '%s' values must not be empty.", k.Name)
		case k.OneOf != nil && !slices.Contains(k.OneOf, e):
			return "", Invalid(k.Name, e, k.alternatives())
		case !slices.Contains(elements, e):
			elements = append(elements, e)
		}
	}
	return strings.Join(elements, ","), ""
}
