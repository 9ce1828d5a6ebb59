package differ

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed differences.txt
var differencesText string

// Difference is an entry of differences.txt: a way in which Karst's answers are
// known to differ from Kafka's.
type Difference struct {
	Where        string // pattern: script/section/place/API/vN
	Path         string // pattern
	Kafka, Karst string // patterns of values as JSON; "-" for a field that is not there, or has its default
	Reason       string
	line         int
}

// API is the API that the entry is about.
func (d Difference) API() string {
	parts := strings.Split(d.Where, "/")
	return parts[len(parts)-2]
}

// Differences are all entries of differences.txt.
func Differences() ([]Difference, error) { return parseDifferences(differencesText) }

// parseDifferences reads entries of the form
//
//	where path: kafka | karst
//		reason
//
// where * stands for anything. Lines that begin with # are comments; reasons go
// to docs/compatibility.md.
func parseDifferences(text string) ([]Difference, error) {
	var all []Difference
	for i, line := range strings.Split(text, "\n") {
		switch trimmed := strings.TrimSpace(line); {
		case trimmed == "" || line[0] == '#':
		case line[0] == '\t' || line[0] == ' ':
			if len(all) == 0 {
				return nil, fmt.Errorf("differences.txt:%d: a reason for nothing", i+1)
			}
			d := &all[len(all)-1]
			d.Reason = strings.TrimSpace(d.Reason + " " + trimmed)
		default:
			d, ok := parseDifference(trimmed)
			if !ok {
				return nil, fmt.Errorf("differences.txt:%d: wanted: where path: kafka | karst", i+1)
			}
			d.line = i + 1
			all = append(all, d)
		}
	}
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Reason == "" && i+1 < len(all) {
			all[i].Reason = all[i+1].Reason // several entries, one reason
		}
		if all[i].Reason == "" {
			return nil, fmt.Errorf("differences.txt:%d: no reason", all[i].line)
		}
	}
	return all, nil
}

func parseDifference(line string) (Difference, bool) {
	where, rest, ok1 := strings.Cut(line, " ")
	path, values, ok2 := strings.Cut(rest, ": ")
	kafka, karst, ok3 := strings.Cut(values, " | ")
	return Difference{Where: where, Path: path, Kafka: kafka, Karst: karst}, ok1 && ok2 && ok3 && strings.Count(where, "/") >= 2
}

// Explains reports whether the entry is about f.
func (d Difference) Explains(f Found) bool {
	return glob(d.Where, f.Where) && glob(d.Path, f.Path) && glob(d.Kafka, f.Kafka) && glob(d.Karst, f.Karst)
}

// glob matches s with a pattern in which * stands for anything.
func glob(pattern, s string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	s, ok := strings.CutPrefix(s, head)
	if !ok || !star {
		return ok && s == ""
	}
	for i := range len(s) + 1 {
		if glob(rest, s[i:]) {
			return true
		}
	}
	return false
}
