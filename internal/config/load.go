package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fileBytesMax bounds a configuration file.
const fileBytesMax = 1 << 20

// Source is where settings come from.
type Source struct {
	Flags map[string]string // given on the command line, by name
	Env   []string          // as os.Environ
	File  string            // path of a YAML file; ""
}

// Load reads all settings. Errors are one line that says which source is wrong
// and what would be right.
func Load(s Source) (Config, error) {
	var c Config
	table := Table()
	byName := make(map[string]Setting, len(table))
	for _, row := range table {
		byName[row.Name] = row
		if err := row.set(&c, row.Default); err != nil {
			panic("BUG: default of " + row.Name + ": " + err.Error())
		}
	}
	if s.File == "" {
		s.File = lookup(s.Env, "KARST_CONFIG")
	}
	if s.File != "" {
		if err := c.loadFile(s.File, byName); err != nil {
			return c, err
		}
	}
	if err := c.loadEnv(s.Env, table); err != nil {
		return c, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Flags)) {
		row, ok := byName[name]
		if !ok {
			return c, fmt.Errorf("--%s: no such setting; see karst serve --help", name)
		}
		if err := row.set(&c, s.Flags[name]); err != nil {
			return c, fmt.Errorf("--%s: %w", name, err)
		}
	}
	return c, c.check()
}

func lookup(env []string, name string) string {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

func (c *Config) loadEnv(env []string, table []Setting) error {
	known := map[string]Setting{}
	for _, row := range table {
		known[row.Env()] = row
	}
	for _, kv := range slices.Sorted(slices.Values(env)) {
		name, v, _ := strings.Cut(kv, "=")
		// KARST_TEST_… belongs to the tests, KARST_CONFIG names the file.
		if !strings.HasPrefix(name, "KARST_") || strings.HasPrefix(name, "KARST_TEST_") || name == "KARST_CONFIG" {
			continue
		}
		row, ok := known[name]
		if !ok {
			return fmt.Errorf("environment variable %s: no such setting; see karst serve --help", name)
		}
		if err := row.set(c, v); err != nil {
			return fmt.Errorf("environment variable %s: %w", name, err)
		}
	}
	return nil
}

func (c *Config) loadFile(path string, byName map[string]Setting) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("configuration file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, fileBytesMax+1))
	if err != nil {
		return fmt.Errorf("configuration file: %w", err)
	}
	if len(b) > fileBytesMax {
		return fmt.Errorf("configuration file %s: larger than 1 MiB; is it the right file?", path)
	}
	var doc map[string]yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return fmt.Errorf("configuration file %s: not a YAML mapping of settings: %s", path, strings.ReplaceAll(err.Error(), "\n", " "))
	}
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		node := doc[name]
		row, ok := byName[name]
		if !ok {
			return fmt.Errorf("configuration file %s, line %d: no setting %q; names are written in dots, as in wal.min.interval", path, node.Line, name)
		}
		if node.Kind != yaml.ScalarNode {
			return fmt.Errorf("configuration file %s, line %d: %s takes one value", path, node.Line, name)
		}
		v := node.Value
		if node.Tag == "!!null" {
			v = row.Default
		}
		if err := row.set(c, v); err != nil {
			return fmt.Errorf("configuration file %s, line %d: %s: %w", path, node.Line, name, err)
		}
	}
	return nil
}

const peerSecretMin = 16

// checkAddress checks HOST:PORT; one that others are told names both.
func checkAddress(name, v string, told bool) error {
	host, port, err := net.SplitHostPort(v)
	if err != nil {
		return fmt.Errorf("%s: %q is not HOST:PORT, such as :9092 or kafka.example.com:9092", name, v)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("%s: port %q is not a number from 0 to 65535", name, port)
	}
	if told && (host == "" || n == 0) {
		return fmt.Errorf("%s: %q must name the host and port that others can reach", name, v)
	}
	return nil
}

// check looks at what one setting alone cannot show.
func (c *Config) check() error {
	if _, err := c.Listeners(); err != nil {
		return err
	}
	for _, a := range []struct{ name, v string }{{"http", c.HTTP}, {"peer.listen", c.PeerListen}, {"peer.advertise", c.PeerAdvertise}} {
		if a.v == "" {
			continue
		}
		if err := checkAddress(a.name, a.v, a.name == "peer.advertise"); err != nil {
			return err
		}
	}
	if files := []string{c.PeerCertificate, c.PeerKey, c.PeerAuthorities}; slices.Contains(files, "") && (files[0] != "" || files[1] != "" || files[2] != "") {
		return errors.New("peer.tls.certificate, peer.tls.key and peer.tls.authorities go together: give all or none")
	}
	if c.PeerSecret != "" && len(c.PeerSecret) < peerSecretMin {
		return fmt.Errorf("peer.secret: %d bytes are too few to be secret, it needs %d", len(c.PeerSecret), peerSecretMin)
	}
	for _, u := range []struct{ name, v string }{{"store", c.Store}, {"wal", c.WAL}} {
		if u.v == "" && u.name == "wal" {
			continue
		}
		if p, err := url.Parse(u.v); err != nil || p.Scheme == "" {
			return fmt.Errorf("%s: %q is not a URL, such as file://karst-data or s3://bucket/prefix?region=eu-central-1", u.name, u.v)
		}
	}
	if c.FlushBytes > c.MemoryBytes/2 {
		return fmt.Errorf("flush.bytes (%d) is more than half of memory (%d): lower one or raise the other", c.FlushBytes, c.MemoryBytes)
	}
	return nil
}
