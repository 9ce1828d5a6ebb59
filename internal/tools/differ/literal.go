package differ

import (
	"fmt"
	"strconv"
	"strings"
)

// literal parses relaxed JSON: names and strings need no quotes where they hold
// none of ,:[]{}" and no space. The tree's numbers are int64.
func literal(text string) (any, error) {
	l := lexer{text: text}
	v, err := l.value()
	if err != nil {
		return nil, err
	}
	if l.space(); l.text != "" {
		return nil, fmt.Errorf("after the literal: %q", l.text)
	}
	return v, nil
}

type lexer struct{ text string }

func (l *lexer) space() { l.text = strings.TrimLeft(l.text, " \t\n") }

// punct takes c if it comes next.
func (l *lexer) punct(c byte) bool {
	l.space()
	if l.text == "" || l.text[0] != c {
		return false
	}
	l.text = l.text[1:]
	return true
}

func (l *lexer) value() (any, error) {
	switch {
	case l.punct('{'):
		return l.object()
	case l.punct('['):
		return l.array()
	}
	s, quoted, err := l.word()
	if err != nil || quoted {
		return s, err
	}
	switch s {
	case "null":
		return nil, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	return s, nil
}

func (l *lexer) object() (any, error) {
	o := object{}
	for !l.punct('}') {
		if len(o) > 0 && !l.punct(',') {
			return nil, fmt.Errorf("wanted , or } before %q", l.text)
		}
		name, _, err := l.word()
		if err != nil {
			return nil, err
		}
		if !l.punct(':') {
			return nil, fmt.Errorf("wanted : after %s, before %q", name, l.text)
		}
		v, err := l.value()
		if err != nil {
			return nil, err
		}
		o = append(o, member{name: name, value: v})
	}
	return o, nil
}

func (l *lexer) array() (any, error) {
	a := []any{}
	for !l.punct(']') {
		if len(a) > 0 && !l.punct(',') {
			return nil, fmt.Errorf("wanted , or ] before %q", l.text)
		}
		v, err := l.value()
		if err != nil {
			return nil, err
		}
		a = append(a, v)
	}
	return a, nil
}

// word takes a quoted or bare string.
func (l *lexer) word() (s string, quoted bool, err error) {
	l.space()
	if strings.HasPrefix(l.text, `"`) {
		q, err := strconv.QuotedPrefix(l.text)
		if err != nil {
			return "", false, fmt.Errorf("%w: %q", err, l.text)
		}
		l.text = l.text[len(q):]
		s, err = strconv.Unquote(q)
		return s, true, err
	}
	end := strings.IndexAny(l.text, ",:[]{}\" \t\n")
	if end < 0 {
		end = len(l.text)
	}
	if strings.HasPrefix(l.text, "hex:") {
		end = 4 + strings.IndexFunc(l.text[4:]+" ", func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) })
	}
	if end == 0 {
		return "", false, fmt.Errorf("wanted a value before %q", l.text)
	}
	s, l.text = l.text[:end], l.text[end:]
	return s, false, nil
}
