package differ

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Script is a parsed script.
type Script struct {
	Name  string
	steps []*step
}

// Request is a request of a script, in one of its versions.
type Request struct {
	At      string
	Round   int16
	Key     int16
	Version int16
	Spoilt  bool // not a well-formed request
}

// Requests are all requests of the script.
func (s *Script) Requests() []Request { return requests(s.steps, versions{}, nil) }

func requests(steps []*step, rounds versions, all []Request) []Request {
	inside := rounds != versions{}
	for _, s := range steps {
		if s.verb == "each" {
			all = requests(s.block, s.version, all)
		}
		if s.verb != "send" && s.verb != "start" && s.verb != "quiet" {
			continue
		}
		add := func(round, version int16) {
			all = append(all, Request{s.at, round, s.key, version, len(s.mutate) > 0})
		}
		switch {
		case s.version.variable:
			for v := rounds.low; v <= rounds.high; v++ {
				add(v, min(max(v, s.version.low), s.version.high))
			}
		case inside && s.version.low == s.version.high:
			for v := rounds.low; v <= rounds.high; v++ {
				add(v, s.version.low)
			}
		default:
			for v := s.version.low; v <= s.version.high; v++ {
				add(v, v)
			}
		}
	}
	return all
}

// step is one statement.
type step struct {
	line    int
	at      string // section and place in it, for golden data
	verb    string
	name    string // a connection's, for "start" and "await" the request's, for "batch" the batch's
	conn    string
	api     string
	key     int16
	version versions
	body    any // literal
	text    string
	bytes   []byte
	pause   time.Duration
	within  time.Duration // for an answer that may not come
	batch   batchSpec
	block   []*step // of "each"

	captures []capture
	until    []condition
	keep     []keep
	ignore   []string
	mutate   [][]string
}

// versions are those of a request: a range, or $v within one.
type versions struct {
	low, high int16
	variable  bool
}

type capture struct{ name, path string }

type condition struct{ path, value string }

// keep leaves of the array at path the elements whose field has the prefix.
type keep struct{ path, field, prefix string }

var keys = func() map[string]int16 {
	m := map[string]int16{}
	for k := range int16(kmsg.MaxKey + 1) {
		m[kmsg.NameForKey(k)] = k
	}
	return m
}()

// Parse reads a script.
func Parse(name, text string) (*Script, error) {
	p := parser{section: "start"}
	for i, line := range strings.Split(text, "\n") {
		if trimmed := strings.TrimSpace(line); trimmed == "" || trimmed[0] == '#' {
			continue
		}
		if err := p.line(i+1, line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
	}
	if err := p.finish(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &Script{Name: name, steps: p.steps}, nil
}

type parser struct {
	steps   []*step
	each    *step // that is open
	last    *step
	pending string // literal that is not complete
	section string
	inside  int
}

func (p *parser) line(n int, line string) error {
	indented := line[0] == ' ' || line[0] == '\t'
	if p.pending != "" {
		p.pending += "\n" + line
		return p.literal()
	}
	// The statements of an each block may be indented once more.
	words := strings.Fields(line)
	inner := p.each != nil && verbs[words[0]] && (p.last == p.each || indent(line) <= p.inside || p.inside == 0)
	if indented && !inner {
		if p.last == nil {
			return fmt.Errorf("nothing to belong to")
		}
		return p.modifier(words, line)
	}
	if p.each != nil && p.inside == 0 && words[0] != "end" {
		p.inside = max(indent(line), 1)
	}
	if err := p.finishLiteral(); err != nil {
		return err
	}
	if words[0] == "==" {
		p.section = strings.Join(words[1:], "-")
		return nil
	}
	return p.statement(n, words, line)
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " \t")) }

var verbs = map[string]bool{
	"client": true, "send": true, "start": true, "await": true, "quiet": true, "raw": true, "close": true,
	"sleep": true, "batch": true, "each": true, "end": true, "==": true,
}

func (p *parser) statement(n int, words []string, line string) error {
	s := &step{line: n, verb: words[0], at: p.section}
	if !verbs[s.verb] {
		return fmt.Errorf("no statement %q", s.verb)
	}
	if s.verb == "end" {
		if p.each == nil {
			return fmt.Errorf("end of nothing")
		}
		p.each, p.last = nil, nil
		return nil
	}
	p.last = s
	if p.each != nil {
		if s.verb == "each" {
			return fmt.Errorf("each inside of each")
		}
		p.each.block = append(p.each.block, s)
	} else {
		p.steps = append(p.steps, s)
	}
	return p.arguments(s, words[1:], line)
}

func (p *parser) arguments(s *step, args []string, line string) (err error) {
	if len(args) == 0 {
		return fmt.Errorf("%s of what?", s.verb)
	}
	s.name = args[0]
	switch s.verb {
	case "client":
		s.conn, s.text = args[0], strings.Join(args[1:], " ")
	case "close":
		s.conn = args[0]
	case "sleep":
		s.pause, err = time.ParseDuration(args[0])
	case "raw":
		s.conn, s.api = args[0], "raw"
		s.bytes, err = hex.DecodeString(strings.Join(args[1:], ""))
	case "each":
		p.each, p.inside = s, 0
		s.version, err = parseVersions("v" + args[len(args)-1])
	case "batch":
		s.batch.options = args[1:]
	case "start":
		args = args[1:]
		return p.request(s, args, line)
	case "send", "quiet":
		return p.request(s, args, line)
	}
	return err
}

// request takes CONN API vN {…}.
func (p *parser) request(s *step, args []string, line string) (err error) {
	if len(args) < 3 {
		return fmt.Errorf("%s wants a connection, an API and a version", s.verb)
	}
	s.conn, s.api = args[0], args[1]
	var ok bool
	if s.key, ok = keys[s.api]; !ok {
		return fmt.Errorf("no API %q", s.api)
	}
	if s.version, err = parseVersions(args[2]); err != nil {
		return err
	}
	p.pending = "{}"
	if _, body, ok := strings.Cut(line, "{"); ok {
		p.pending = "{" + body
	}
	return p.literal()
}

// literal takes the pending literal if it is complete.
func (p *parser) literal() error {
	if strings.Count(p.pending, "{") > strings.Count(p.pending, "}") {
		return nil
	}
	v, err := literal(p.pending)
	p.last.body, p.pending = v, ""
	return err
}

func (p *parser) finishLiteral() error {
	if p.pending != "" {
		return fmt.Errorf("a literal is not closed")
	}
	return nil
}

func (p *parser) finish() error {
	if p.each != nil {
		return fmt.Errorf("line %d: each without end", p.each.line)
	}
	number(p.steps, map[string]int{})
	return p.finishLiteral()
}

// number gives the steps that have answers their names.
func number(steps []*step, count map[string]int) {
	for _, s := range steps {
		if s.api != "" {
			count[s.at]++
			s.at = fmt.Sprintf("%s/%d", s.at, count[s.at])
		}
		number(s.block, count)
	}
}

var versionForm = regexp.MustCompile(`^v(\d+|\$v)(?:-(\d+))?(?:/(\d+)-(\d+))?$`)

func parseVersions(text string) (versions, error) {
	m := versionForm.FindStringSubmatch(text)
	if m == nil {
		return versions{}, fmt.Errorf("%q is no version", text)
	}
	num := func(s string, otherwise int16) int16 {
		n, err := strconv.ParseInt(s, 10, 16)
		if err != nil {
			return otherwise
		}
		return int16(n)
	}
	if m[1] == "$v" {
		return versions{num(m[3], 0), num(m[4], 1<<15-1), true}, nil
	}
	low := num(m[1], 0)
	return versions{low, num(m[2], low), false}, nil
}

func (p *parser) modifier(words []string, line string) (err error) {
	s := p.last
	if s.verb == "batch" {
		s.batch.records = append(s.batch.records, words)
		return nil
	}
	rest := strings.TrimSpace(line)
	switch {
	case strings.HasPrefix(words[0], "$") && len(words) == 3 && words[1] == "=":
		s.captures = append(s.captures, capture{words[0][1:], words[2]})
	case words[0] == "until":
		path, value, ok := strings.Cut(rest[len("until"):], "=")
		if !ok {
			return fmt.Errorf("until PATH = VALUE")
		}
		s.until = append(s.until, condition{strings.TrimSpace(path), strings.TrimSpace(value)})
	case words[0] == "keep" && len(words) == 4:
		s.keep = append(s.keep, keep{words[1], words[2], words[3]})
	case words[0] == "ignore" && len(words) == 2:
		s.ignore = append(s.ignore, words[1])
	case words[0] == "within" && len(words) == 2:
		s.within, err = time.ParseDuration(words[1])
	case words[0] == "mutate" && len(words) > 1:
		s.mutate = append(s.mutate, words[1:])
	default:
		return fmt.Errorf("%q says nothing about %s", rest, s.verb)
	}
	return err
}
