// Package open turns the URL of a bucket into a driver. It is the one place that
// knows which drivers there are.
//
//	mem://[label]                 memory of the process, a new bucket each time
//	file:///path  file://./path   a folder, absolute or from the working directory
//	s3://bucket/prefix?...        Amazon S3, or a server that speaks it (package s3)
package open

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/disk"
	"github.com/karst-io/karst/internal/store/mem"
	"github.com/karst-io/karst/internal/store/s3"
)

const known = "known are file:///path, s3://bucket/prefix and mem://"

// Open opens the bucket at the URL. Its errors fit in a line and say what to do.
func Open(ctx context.Context, rawURL string) (store.Store, error) {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return nil, fmt.Errorf("store %q is not a URL: %s", rawURL, known)
	}
	switch scheme {
	case "mem":
		return mem.NewKeeping(rest), nil
	case "file":
		return openFile(rest)
	case "s3":
		config, err := s3.ParseURL(rawURL)
		if err != nil {
			return nil, err
		}
		// A nil *s3.Store must not become a store.Store.
		s, err := s3.Open(ctx, config)
		if err != nil {
			return nil, err
		}
		return s, nil
	case "gs", "gcs", "az", "azure":
		return nil, fmt.Errorf("store scheme %s:// is not there yet: %s", scheme, known)
	}
	return nil, fmt.Errorf("store scheme %s:// is unknown: %s", scheme, known)
}

// openFile opens the folder. What follows file:// is a path, not a host: there
// are no folders on other hosts, and file://data is what people write.
func openFile(path string) (store.Store, error) {
	if path == "" {
		return nil, errors.New("store file:// names no folder: need file:///path or file://./path")
	}
	if strings.ContainsAny(path, "?#") {
		return nil, fmt.Errorf("store file://%s: a folder has no parameters", path)
	}
	path, err := url.PathUnescape(path)
	if err != nil {
		return nil, fmt.Errorf("store file://: %w", err)
	}
	s, err := disk.Open(path)
	if err != nil {
		return nil, err
	}
	return s, nil
}
