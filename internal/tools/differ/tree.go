package differ

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// object is a structure with its fields in order.
type object []member

// member is a field. One that has its default value is compared, but not shown.
type member struct {
	name      string
	value     any // object, []any, string, int64, float64, bool or nil
	byDefault bool
}

func (o object) get(name string) (any, bool) {
	for _, m := range o {
		if m.name == name {
			return m.value, true
		}
	}
	return nil, false
}

// MarshalJSON leaves out what has its default value.
func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for _, m := range o {
		if m.byDefault {
			continue
		}
		v, err := marshal(m.value)
		if err != nil {
			return nil, err
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = strconv.AppendQuote(b, m.name)
		b = append(append(b, ':'), v...)
	}
	return append(b, '}'), nil
}

// marshal is v as JSON, with < and > as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// at is the value at a path such as .Topics[0].Partitions or .Configs[retention.ms].Value.
func at(tree any, path string) (any, error) {
	for rest := path; rest != ""; {
		var step string
		switch rest[0] {
		case '.':
			end := strings.IndexAny(rest[1:], ".[") + 1
			if end == 0 {
				end = len(rest)
			}
			step, rest = rest[1:end], rest[end:]
			o, ok := tree.(object)
			if !ok {
				return nil, fmt.Errorf("%s: no structure at %q", path, step)
			}
			if tree, ok = o.get(step); !ok {
				return nil, fmt.Errorf("%s: no field %q", path, step)
			}
		case '[':
			step, rest, _ = strings.Cut(rest[1:], "]")
			a, ok := tree.([]any)
			i := index(a, step)
			if !ok || i < 0 || i >= len(a) {
				return nil, fmt.Errorf("%s: no element %q", path, step)
			}
			tree = a[i]
		default:
			return nil, fmt.Errorf("%s is no path", path)
		}
	}
	return tree, nil
}

// index is where the element is that step means: a number, or a name; -1 if there
// is no such name.
func index(a []any, step string) int {
	if i, err := strconv.Atoi(step); err == nil {
		return i
	}
	return slices.IndexFunc(a, func(e any) bool {
		o, ok := e.(object)
		return ok && slices.ContainsFunc(identities, func(id string) bool {
			name, ok := o.get(id)
			return ok && fmt.Sprint(name) == step
		})
	})
}

// generic is a marshalled tree as encoding/json reads it back.
func generic(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}

// Mismatch is a place where two answers differ.
type Mismatch struct {
	Path         string // "." for the whole answer
	Kafka, Karst string // as JSON; "-" for what is not there, or has its default
}

// comparison compares the answers to a script, in their order. What opaque values
// are called need not be the same on both sides, so that one topic more does not
// rename all that follow; but the same must stay the same.
type comparison struct {
	pairs map[string]string // Kafka's name, Karst's name, and the other way round
}

// same reports whether two opaque names mean the same, or do from now on.
func (c *comparison) same(kafka, karst string) bool {
	class := opaqueName(kafka)
	if class == "" || class != opaqueName(karst) {
		return false
	}
	a, knownA := c.pairs["kafka "+kafka]
	b, knownB := c.pairs["karst "+karst]
	c.pairs["kafka "+kafka], c.pairs["karst "+karst] = karst, kafka
	return (!knownA || a == karst) && (!knownB || b == kafka)
}

// opaqueName is the class of a JSON string of the form "<class n>".
func opaqueName(s string) string {
	class, ok := strings.CutPrefix(s, `"<`)
	class, n, numbered := strings.Cut(class, " ")
	if !ok || !numbered || !strings.HasSuffix(n, `>"`) {
		return ""
	}
	return class
}

// compare lists where two generic trees differ.
func (c *comparison) compare(path string, kafka, karst any) []Mismatch {
	switch a := kafka.(type) {
	case map[string]any:
		if b, ok := karst.(map[string]any); ok {
			return c.fields(path, a, b)
		}
	case []any:
		if b, ok := karst.([]any); ok {
			return c.elements(path, a, b)
		}
	}
	if a, b := short(kafka), short(karst); a != b && !c.same(a, b) {
		if path == "" {
			path = "."
		}
		return []Mismatch{{path, a, b}}
	} else if opaqueName(a) != "" {
		c.same(a, b)
	}
	return nil
}

// fields compares structures.
func (c *comparison) fields(path string, a, b map[string]any) []Mismatch {
	var all []Mismatch
	for _, name := range keysOf(a, b) {
		va, inA := a[name]
		vb, inB := b[name]
		all = append(all, c.member(path+"."+name, va, inA, vb, inB)...)
	}
	return all
}

// member compares what may be there on both sides, or on one.
func (c *comparison) member(path string, a any, inA bool, b any, inB bool) []Mismatch {
	switch {
	case !inA:
		return []Mismatch{{path, "-", short(b)}}
	case !inB:
		return []Mismatch{{path, short(a), "-"}}
	}
	return c.compare(path, a, b)
}

// elements compares arrays, by key where the elements have one: see identities.
func (c *comparison) elements(path string, a, b []any) []Mismatch {
	var all []Mismatch
	if ka, kb := keyed(a), keyed(b); ka != nil && kb != nil {
		all := order(path, a, b)
		for _, k := range keysOf(ka, kb) {
			va, inA := ka[k]
			vb, inB := kb[k]
			all = append(all, c.member(path+"["+k+"]", va, inA, vb, inB)...)
		}
		return all
	}
	for i := range max(len(a), len(b)) {
		var va, vb any
		if i < len(a) {
			va = a[i]
		}
		if i < len(b) {
			vb = b[i]
		}
		all = append(all, c.member(fmt.Sprintf("%s[%d]", path, i), va, i < len(a), vb, i < len(b))...)
	}
	return all
}

// order reports elements that are the same in another order.
func order(path string, a, b []any) []Mismatch {
	keys := func(all []any) string {
		var keys []string
		for _, e := range all {
			if o, ok := e.(map[string]any); ok {
				k, _ := keyOf(o)
				keys = append(keys, k)
			}
		}
		return strings.Join(keys, " ")
	}
	if x, y := keys(a), keys(b); x != y && len(a) == len(b) && len(a) < 20 {
		return []Mismatch{{path + "[order]", x, y}}
	}
	return nil
}

// keyed are the elements by their key, nil if they have none or not each its own.
func keyed(a []any) map[string]any {
	m := make(map[string]any, len(a))
	for _, e := range a {
		o, ok := e.(map[string]any)
		if !ok {
			return nil
		}
		k, ok := keyOf(o)
		if _, twice := m[k]; !ok || twice || strings.Contains(k, "<") {
			return nil // opaque names are not the same on both sides
		}
		m[k] = e
	}
	return m
}

func keysOf(a, b map[string]any) []string {
	var all []string
	for k := range a {
		all = append(all, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			all = append(all, k)
		}
	}
	sortStrings(all)
	return all
}

func short(v any) string {
	b, err := marshal(v)
	if err != nil {
		panic("BUG: a decoded value does not encode: " + err.Error())
	}
	return string(b)
}
