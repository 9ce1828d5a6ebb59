package bench

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestChart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "raw <lz4>.json")
	data := `{"a":"karst","b":"kafka","metrics":[{"name":"MB/s","a":510,"b":236,"ratio":2.16},{"name":"fetch p99 ms","a":0.5,"b":2}]}`
	if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := chartCommand()
	var out strings.Builder
	cmd.SetOut(&out)
	cmd.SetArgs([]string{file})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	svg := out.String()
	for _, want := range []string{"karst", "kafka", "510 (2.16 ×)", "236", "0.50", "2.00", "raw &lt;lz4&gt;"} {
		if !strings.Contains(svg, want) {
			t.Errorf("the chart lacks %q", want)
		}
	}
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestChartRefusesOtherFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.json")
	if err := os.WriteFile(file, []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readComparison(file); err == nil {
		t.Error("a file without metrics is a comparison")
	}
}
