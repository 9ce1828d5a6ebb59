package archtest

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDependenciesAreJustified compares go.mod with docs/dependencies.md.
func TestDependenciesAreJustified(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	direct := map[string]bool{}
	for line := range strings.Lines(string(mod)) {
		line = strings.TrimSpace(line)
		m := regexp.MustCompile(`^(?:require )?(\S+\.\S+/?\S*) v\S+$`).FindStringSubmatch(line)
		if m != nil {
			direct[m[1]] = true
		}
	}
	if len(direct) < 5 {
		t.Fatalf("found only %v in go.mod", direct)
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| [^|]+ \\| [^|]+ \\|$").FindAllStringSubmatch(string(page), -1) {
		listed[m[1]] = true
	}
	for path := range direct {
		if !listed[path] {
			t.Errorf("%s has no line in docs/dependencies.md: why is it here, under which licence?", path)
		}
	}
	for path := range listed {
		if !direct[path] {
			t.Errorf("docs/dependencies.md lists %s, which go.mod does not need directly", path)
		}
	}
}
