package differ

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"
)

// env holds the variables of a script, and how opaque values are called.
type env struct {
	vars map[string]any
	// expansions are names that held $v, by what they became in this round: in
	// answers they get their $v back, so that rounds can be compared.
	expansions map[string]string
	opaque     map[string]map[string]int // class, value, number
}

func newEnv() *env {
	return &env{vars: map[string]any{}, expansions: map[string]string{}, opaque: map[string]map[string]int{}}
}

// round begins another round of versions: names of opaque values start again
// from where before was.
func (e *env) round(v int64, before map[string]map[string]int) {
	e.vars["v"] = v
	clear(e.expansions)
	e.opaque = cloneOpaque(before)
}

func cloneOpaque(m map[string]map[string]int) map[string]map[string]int {
	c := make(map[string]map[string]int, len(m))
	for class, values := range m {
		c[class] = maps.Clone(values)
	}
	return c
}

var variable = regexp.MustCompile(`\$[a-z][a-z0-9]*`)

// expand replaces variables; a string that is one becomes its value. Byte
// variables can be joined: $a+$b.
func (e *env) expand(s string) (any, error) {
	if !strings.Contains(s, "$") {
		return s, nil
	}
	if variable.FindString(s) == s {
		v, ok := e.vars[s[1:]]
		if !ok {
			return nil, fmt.Errorf("%s is not known", s)
		}
		return v, nil
	}
	if joined, ok := e.join(s); ok {
		return joined, nil
	}
	var missing error
	out := variable.ReplaceAllStringFunc(s, func(name string) string {
		v, ok := e.vars[name[1:]]
		if !ok {
			missing = fmt.Errorf("%s is not known", name)
		}
		return fmt.Sprint(v)
	})
	if strings.Contains(s, "$v") {
		e.expansions[out] = s
	}
	return out, missing
}

func (e *env) join(s string) ([]byte, bool) {
	var all []byte
	for part := range strings.SplitSeq(s, "+") {
		b, ok := e.vars[strings.TrimPrefix(part, "$")].([]byte)
		if !ok {
			return nil, false
		}
		all = append(all, b...)
	}
	return all, true
}

// name is what an opaque value of a class is called: the same value the same.
func (e *env) name(class string, value any) string {
	b, err := json.Marshal(value)
	if err != nil {
		panic("BUG: opaque value does not encode: " + err.Error())
	}
	values := e.opaque[class]
	if values == nil {
		values = map[string]int{}
		e.opaque[class] = values
	}
	n, ok := values[string(b)]
	if !ok {
		n = len(values) + 1
		values[string(b)] = n
	}
	return fmt.Sprintf("<%s %d>", class, n)
}
