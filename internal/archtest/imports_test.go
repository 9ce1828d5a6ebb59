package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/karst-io/karst"

// layers is the tree from the top down: a package may import packages of lower
// layers and of its own layer only as sideways says. A package that is not here
// fails the test: put it where it belongs.
var layers = [][]string{
	{"cmd/karst"},
	{"internal/sim", "internal/tools/cli", "internal/tools/bench", "internal/tools/cluster", "internal/tools/differ", "internal/e2e"},
	{"internal/broker"},
	{"internal/kafka"},
	{"internal/coordinator/group"},
	{"internal/coordinator"},
	{"internal/cluster/member"},
	{"internal/cluster/failover", "internal/cluster/peer", "internal/cluster/sessions", "internal/cluster/balance"},
	{"internal/cluster/peer/peerpb/peerpbconnect"},
	{"internal/cluster/peer/peerpb"},
	{"internal/cluster/controller"},
	{"internal/log/engine"},
	{"internal/log/partition", "internal/log/flush", "internal/log/reap"},
	{"internal/log/blockcache", "internal/log/wal"},
	{"internal/log/segment"},
	{"internal/log/record"},
	{"internal/metadata"},
	{"internal/metadata/metadatapb"},
	{"internal/config/effective"},
	{"internal/config/broker"},
	{"internal/config", "internal/config/topic", "internal/config/group", "internal/config/telemetry"},
	{"internal/config/key"},
	{"internal/store/open"},
	{"internal/store/disk", "internal/store/mem", "internal/store/s3", "internal/store/probe", "internal/store/storetest"},
	{"internal/store/route", "internal/store/retry", "internal/store/hedge", "internal/store/limit", "internal/store/meter", "internal/store/faults"},
	{"internal/store/objlog"},
	{"internal/store/object"},
	{"internal/store"},
	{"internal/chunk"},
	{""}, // the nouns
	{"internal/archtest", "internal/model", "internal/proptest"},
}

// sideways lists imports inside a layer, with the reason.
var sideways = map[[2]string]string{
	{"internal/store/disk/powercut", "internal/store/disk"}: "a file layer for tests stands in for the driver's own",
}

// forbidden lists imports that the layers would allow and a law does not.
var forbidden = []struct{ from, to, why string }{
	{"internal/metadata", "internal/chunk", "the image is garbage collected: readers keep pointers for as long as they like"},
	{"internal/log", "github.com/twmb/franz-go", "Kafka's request and response types stop at package kafka"},
	{"internal/metadata", "github.com/twmb/franz-go", "Kafka's request and response types stop at package kafka"},
	{"internal/cluster", "github.com/twmb/franz-go", "Kafka's request and response types stop at package kafka"},
	{"internal/tools", "internal/broker", "tools are clients of the broker or readers of the bucket"},
	{"internal/kafka", "internal/store/disk", "drivers are opened by the composition root"},
}

type source struct {
	pkg     string // path in the module
	file    string
	imports []string
	doc     string
	calls   map[string]bool // names of methods called
}

// sources parses every file of the module that is not a test.
func sources(t *testing.T) []source {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var all []source
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); rel != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "tools" && path.Dir(filepath.ToSlash(rel)) == ".") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil && rel != "." {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		all = append(all, parse(t, p, filepath.ToSlash(rel)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("found only %d files: is the test looking at the tree?", len(all))
	}
	return all
}

func parse(t *testing.T, file, rel string) source {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	s := source{pkg: path.Dir(rel), file: rel, calls: map[string]bool{}}
	if s.pkg == "." {
		s.pkg = ""
	}
	if f.Doc != nil {
		s.doc = f.Doc.Text()
	}
	for _, i := range f.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		s.imports = append(s.imports, p)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
				s.calls[sel.Sel.Name] = true
			}
		}
		return true
	})
	return s
}

// layerOf is the layer of a package: its own entry or the nearest parent's.
func layerOf(pkg string) int {
	for p := pkg; ; p = path.Dir(p) {
		for k, layer := range layers {
			if slices.Contains(layer, p) {
				return k
			}
		}
		if p == "." || p == "" {
			return -1
		}
	}
}

func TestImportsPointDown(t *testing.T) {
	for _, s := range sources(t) {
		from := layerOf(s.pkg)
		if from < 0 {
			t.Errorf("%s: package is in no layer; add it to the table", s.file)
			continue
		}
		for _, imp := range s.imports {
			to, inside := strings.CutPrefix(imp, module)
			if !inside {
				continue
			}
			to = strings.TrimPrefix(to, "/")
			if _, ok := sideways[[2]string{s.pkg, to}]; ok || strings.HasPrefix(to, s.pkg+"/") && s.pkg != "" {
				continue
			}
			if l := layerOf(to); l <= from {
				t.Errorf("%s imports %s: imports point down the table", s.file, to)
			}
		}
	}
}

func TestForbiddenImports(t *testing.T) {
	for _, s := range sources(t) {
		for _, law := range forbidden {
			if !under(s.pkg, law.from) {
				continue
			}
			for _, imp := range s.imports {
				if under(strings.TrimPrefix(imp, module+"/"), law.to) {
					t.Errorf("%s imports %s: %s", s.file, imp, law.why)
				}
			}
		}
	}
}

func under(pkg, parent string) bool { return pkg == parent || strings.HasPrefix(pkg, parent+"/") }

// TestNounsImportOnlyTheStandardLibrary keeps the root package at the bottom.
func TestNounsImportOnlyTheStandardLibrary(t *testing.T) {
	for _, s := range sources(t) {
		for _, imp := range s.imports {
			if s.pkg == "" && strings.Contains(imp, ".") {
				t.Errorf("%s imports %s: the nouns import only the standard library", s.file, imp)
			}
		}
	}
}

// TestEveryPackageSaysWhatItIs wants exactly one package comment per package.
func TestEveryPackageSaysWhatItIs(t *testing.T) {
	docs := map[string][]string{}
	for _, s := range sources(t) {
		if _, ok := docs[s.pkg]; !ok {
			docs[s.pkg] = nil
		}
		if s.doc != "" && !strings.HasPrefix(s.doc, "Code generated") {
			docs[s.pkg] = append(docs[s.pkg], s.file)
		}
	}
	for pkg, files := range docs {
		if strings.HasSuffix(pkg, "pb") || strings.HasSuffix(pkg, "pbconnect") {
			continue // generated
		}
		if len(files) != 1 {
			t.Errorf("package %q has %d package comments: %v", pkg, len(files), files)
		}
	}
}

// TestUnnamedRooms keeps out packages whose name says nothing.
func TestUnnamedRooms(t *testing.T) {
	for _, s := range sources(t) {
		for _, bad := range []string{"util", "utils", "common", "helpers", "misc", "types", "base", "manager"} {
			if path.Base(s.pkg) == bad {
				t.Errorf("%s: a package named %s says nothing", s.file, bad)
			}
		}
	}
}
