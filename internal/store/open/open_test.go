package open_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/open"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "none"))
	for _, tt := range []struct{ url, want, folder string }{
		{"mem://", "mem://", ""},
		{"mem://test", "mem://test", ""},
		{"file://" + dir + "/a/b", "file://" + dir + "/a/b", "a/b"},
		{"file://./c", "file://" + dir + "/c", "c"},
		{"file://d/e", "file://" + dir + "/d/e", "d/e"},
		{"file://f%20g", "file://" + dir + "/f%20g", "f g"},
		{"s3://bucket/some/prefix/?region=eu-west-1", "s3://bucket/some/prefix?region=eu-west-1", ""},
		{"s3://bucket?endpoint=http://127.0.0.1:1", "s3://bucket?endpoint=http%3A%2F%2F127.0.0.1%3A1", ""},
	} {
		s, err := open.Open(t.Context(), tt.url)
		if err != nil {
			t.Errorf("Open %s: %v", tt.url, err)
			continue
		}
		if s.String() != tt.want {
			t.Errorf("Open %s is %s, want %s", tt.url, s, tt.want)
		}
		if tt.folder != "" {
			if _, err := os.Stat(filepath.Join(dir, tt.folder)); err != nil {
				t.Error(err)
			}
			if err := s.Create(t.Context(), "x/y", store.Bytes([]byte("x"))); err != nil {
				t.Error(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "none"))
	for _, tt := range []struct{ url, want string }{
		{"", "known are"},
		{"/data", "known are file:///path"},
		{"http://x", "http:// is unknown: known are"},
		{"gs://bucket", "gs:// is not there yet"},
		{"az://bucket", "az:// is not there yet"},
		{"file://", "need file:///path"},
		{"file:///x?y=z", "no parameters"},
		{"file://" + dir + "/file", "is a file, need a folder"},
		{"file://" + dir + "/file/below", "not a directory"},
		{"s3://", "no bucket"},
		{"s3://bucket", "AWS_REGION"},
		{"s3://key:secret@bucket", "credentials in the URL"},
		{"s3://bucket?regoin=x", `unknown parameter "regoin"`},
		{"s3://bucket?sse=rot13", "need AES256 or aws:kms"},
		{"s3://bucket?kms_key=x", "kms_key needs sse=aws:kms"},
		{"s3://bucket?path_style=maybe", "need true or false"},
		{"s3://bucket?endpoint=localhost:9000", "need http://"},
		{"s3://bucket/a//b", "empty or dot segment"},
	} {
		s, err := open.Open(t.Context(), tt.url)
		if err == nil || s != nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Open %s = %v, %v; want %q", tt.url, s, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("Open %s tells the secret: %v", tt.url, err)
		}
	}
}
