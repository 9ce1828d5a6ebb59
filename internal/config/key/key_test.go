package configkey

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	number := func(k Kind, low, high float64) Key { return Number("n", k, "", low, high, Honoured, "") }
	list := Choice("l", List, "", Honoured, "", []string{"a", "b"})
	for _, c := range []struct {
		key         Key
		value, want string // want: as printed, or "!" and what is wrong
	}{
		{number(Int, NoMin, NoMax), " +7 ", "7"},
		{number(Int, NoMin, NoMax), "007", "7"},
		{number(Int, NoMin, NoMax), "-2147483648", "-2147483648"},
		{number(Int, NoMin, NoMax), "2147483648", "!Invalid value 2147483648 for configuration n: Not a number of type INT"},
		{number(Short, NoMin, NoMax), "32768", "!Invalid value 32768 for configuration n: Not a number of type SHORT"},
		{number(Long, NoMin, NoMax), "9223372036854775807", "9223372036854775807"},
		{number(Long, NoMin, NoMax), "1e3", "!Invalid value 1e3 for configuration n: Not a number of type LONG"},
		{number(Long, NoMin, NoMax), "", "!Invalid value  for configuration n: Not a number of type LONG"},
		{number(Int, 1, 17), "0", "!Invalid value 0 for configuration n: Value must be at least 1"},
		{number(Int, 1, 17), "18", "!Invalid value 18 for configuration n: Value must be no more than 17"},
		{number(Double, 0, 1), ".5", "0.5"},
		{number(Double, 0, 1), "1", "1.0"},
		{number(Double, 0, 1), "1.5", "!Invalid value 1.5 for configuration n: Value must be no more than 1"},
		{number(Double, 0, 1), "-1", "!Invalid value -1.0 for configuration n: Value must be at least 0"},
		{number(Double, 0, NoMax), "NaN", "!Invalid value NaN for configuration n: Value must be at least 0"},
		{number(Double, 0, NoMax), "1.7976931348623157E308", "1.7976931348623157E308"},
		{number(Double, 0, NoMax), "12345678", "1.2345678E7"},
		{number(Double, 0, NoMax), "1e7", "1.0E7"},
		{number(Double, 0, NoMax), "0.001", "0.001"},
		{number(Double, 0, NoMax), "0.00012", "1.2E-4"},
		{number(Double, 0, NoMax), "0", "0.0"},
		{number(Double, 0, NoMax), "Infinity", "!Invalid value Infinity for configuration n: Not a number of type DOUBLE"},
		{Flag("f", ""), " TRUE ", "true"},
		{Flag("f", ""), "1", "!Invalid value 1 for configuration f: Expected value to be either true or false"},
		{Choice("s", String, "", Honoured, "", []string{"a", "b"}), "A", "!Invalid value A for configuration s: String must be one of: a, b"},
		{list, "b , a,b", "b,a"},
		{list, "", ""},
		{list, "a,", "!Configuration 'l' values must not be empty."},
		{list, "a,c", "!Invalid value c for configuration l: String must be one of: a, b"},
		{Key{Name: "p", Kind: Password}, "secret", "secret"},
		{Key{Name: "u"}, "any", "any"},
		{Key{Name: "c", Kind: String, Check: func(string) string { return "no" }}, "x", "!no"},
	} {
		got, fault := c.key.Parse(c.value)
		if fault != "" {
			got = "!" + fault
		}
		if got != c.want {
			t.Errorf("%q: %s, want %s", c.value, got, c.want)
		}
	}
}

// TestFaultsAreShort keeps a hostile value out of answers and logs.
func TestFaultsAreShort(t *testing.T) {
	k := Number("n", Int, "", NoMin, NoMax, Honoured, "")
	if _, fault := k.Parse(strings.Repeat("x", 1<<20)); fault == "" || len(fault) > 300 {
		t.Errorf("a fault of %d bytes", len(fault))
	}
}
