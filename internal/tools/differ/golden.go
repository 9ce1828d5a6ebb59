package differ

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Golden data is Apache Kafka's answers to a script, a line for each request and
// for each run of versions that were answered the same.
type goldenLine struct {
	At       string          `json:"at"`
	API      string          `json:"api"`
	Versions string          `json:"v"`
	Answer   json.RawMessage `json:"answer"`
}

// WriteGolden is answers as golden data.
func WriteGolden(answers []Answer) []byte {
	var order []string
	byPlace := map[string][]Answer{}
	for _, a := range answers {
		if byPlace[a.At] == nil {
			order = append(order, a.At)
		}
		byPlace[a.At] = append(byPlace[a.At], a)
	}
	var b bytes.Buffer
	for _, at := range order {
		all := byPlace[at]
		for i := 0; i < len(all); {
			end := i + 1
			for end < len(all) && all[end].JSON == all[i].JSON {
				end++
			}
			line, err := marshal(goldenLine{at, all[i].API, span(all[i].Round, all[end-1].Round), json.RawMessage(all[i].JSON)})
			if err != nil {
				panic("BUG: golden data does not encode: " + err.Error())
			}
			b.Write(append(line, '\n'))
			i = end
		}
	}
	return b.Bytes()
}

func span(low, high int16) string {
	if low == high {
		return strconv.Itoa(int(low))
	}
	return fmt.Sprintf("%d-%d", low, high)
}

// ReadGolden is golden data as answers.
func ReadGolden(b []byte) ([]Answer, error) {
	var all []Answer
	for line := range bytes.Lines(b) {
		var g goldenLine
		if err := json.Unmarshal(line, &g); err != nil {
			return nil, err
		}
		low, high, ranged := strings.Cut(g.Versions, "-")
		if !ranged {
			high = low
		}
		from, err := strconv.ParseInt(low, 10, 16)
		if err != nil {
			return nil, err
		}
		to, err := strconv.ParseInt(high, 10, 16)
		if err != nil {
			return nil, err
		}
		for v := from; v <= to; v++ {
			all = append(all, Answer{At: g.At, API: g.API, Round: int16(v), JSON: string(g.Answer)})
		}
	}
	return all, nil
}

// Found is a difference between two brokers.
type Found struct {
	Where string // script/section/place/API/vN
	Line  int    // in the script
	Mismatch
}

// Report is a line for each difference, one for all versions that have it.
func Report(found []Found) []string {
	type key struct{ place, path, kafka, karst string }
	versions := map[key][]string{}
	for _, f := range found {
		place, version := path.Split(f.Where)
		k := key{place, f.Path, f.Kafka, f.Karst}
		versions[k] = append(versions[k], version)
	}
	var all []string
	for _, f := range found {
		place, _ := path.Split(f.Where)
		k := key{place, f.Path, f.Kafka, f.Karst}
		if v := versions[k]; v != nil {
			all = append(all, fmt.Sprintf("%s%s %s: %s | %s (line %d)", place, strings.Join(v, ","), f.Path, f.Kafka, f.Karst, f.Line))
			delete(versions, k)
		}
	}
	return all
}

// Compare lists where Karst's answers to a script differ from Kafka's. An error
// means that they are answers to different scripts.
func Compare(script string, kafka, karst []Answer) ([]Found, error) {
	type place struct {
		at    string
		round int16
	}
	want := map[place]Answer{}
	for _, a := range kafka {
		want[place{a.At, a.Round}] = a
	}
	if len(kafka) != len(karst) {
		return nil, fmt.Errorf("%s: %d answers of Kafka, %d of Karst: record again", script, len(kafka), len(karst))
	}
	var all []Found
	c := comparison{pairs: map[string]string{}}
	for _, got := range karst {
		a, ok := want[place{got.At, got.Round}]
		if !ok || a.API != got.API {
			return nil, fmt.Errorf("%s: no answer of Kafka to %s of %s, version %d: record again", script, got.API, got.At, got.Round)
		}
		x, err := generic([]byte(a.JSON))
		if err != nil {
			return nil, err
		}
		y, err := generic([]byte(got.JSON))
		if err != nil {
			return nil, err
		}
		where := fmt.Sprintf("%s/%s/%s/v%d", script, got.At, got.API, got.Round)
		for _, m := range c.compare("", x, y) {
			all = append(all, Found{where, got.line, m})
		}
	}
	return all, nil
}
