package s3_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/s3"
	"github.com/karst-io/karst/internal/store/storetest"
)

// TestConformance runs the suite against the bucket that KARST_TEST_S3 names.
func TestConformance(t *testing.T) {
	raw := os.Getenv("KARST_TEST_S3")
	if raw == "" {
		t.Skip("KARST_TEST_S3 is not set: name a bucket, s3://bucket?endpoint=..., or run scripts/s3-server.sh")
	}
	base, err := s3.ParseURL(raw)
	if err != nil {
		t.Fatal(err)
	}
	run := time.Now().UnixNano() // a prefix nobody used
	storetest.Run(t, func(t *testing.T) store.Store {
		t.Helper()
		c := base
		_, test, _ := strings.Cut(t.Name(), "/")
		c.Prefix = strings.Trim(fmt.Sprintf("%s/%d/%s", base.Prefix, run, test), "/")
		s, err := s3.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
