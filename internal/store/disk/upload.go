package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/karst-io/karst/internal/store"
)

// Put implements store.Writer.
func (s *Store) Put(ctx context.Context, name string, body store.Body) error {
	return s.upload(ctx, name, body, Temp.Replace)
}

// Create implements store.Creator.
func (s *Store) Create(ctx context.Context, name string, body store.Body) error {
	return s.upload(ctx, name, body, Temp.Link)
}

// upload runs an upload and leaves it when ctx ends: a call to the kernel cannot
// be cancelled, and a dead network share answers none.
func (s *Store) upload(ctx context.Context, name string, body store.Body, publish func(Temp, string) error) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	if body.Hold != nil {
		body.Hold.Retain()
	}
	done := make(chan error, 1)
	s.uploads.Go(func() {
		err := s.write(ctx, name, body, publish)
		if body.Hold != nil {
			body.Hold.Release()
		}
		done <- err
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("disk: create %s: outcome unknown: %w", name, ctx.Err())
	}
}

// write does the steps of the package comment.
func (s *Store) write(ctx context.Context, name string, body store.Body, publish func(Temp, string) error) error {
	dir := path.Dir(name)
	f, err := s.folder(ctx, dir, true)
	if err != nil {
		return fmt.Errorf("disk: create folder %s: %w", dir, err)
	}
	temp, err := s.files.Temp(dir)
	if err != nil {
		return fmt.Errorf("disk: create a temporary file in %s: %w", dir, err)
	}
	if err := fill(ctx, temp, body); err != nil {
		_ = temp.Close() // discards it; the first error matters
		return fmt.Errorf("disk: write %s: %w", name, err)
	}
	number, err := f.change(func() error { return publish(temp, name) })
	_ = temp.Close() // the content is synced, or not published
	exists := errors.Is(err, fs.ErrExist)
	if err != nil && !exists {
		return fmt.Errorf("disk: create %s: %w", name, err)
	}
	// Whoever hears ErrExists builds on the object: it must be durable too, even
	// if another process named it and has not synced yet.
	if err := f.settle(ctx, number); err != nil {
		return fmt.Errorf("disk: create %s: outcome unknown: %w", name, err)
	}
	if exists {
		return fmt.Errorf("disk: %s: %w", name, store.ErrExists)
	}
	return nil
}

// fill writes and syncs the body. A long one is written in steps, each of which
// goes to the medium while the next one is copied.
func fill(ctx context.Context, temp Temp, body store.Body) error {
	var written, started int64
	for _, part := range body.Parts {
		for len(part) > 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			n, err := temp.Write(part[:min(len(part), writeBackStep)])
			if err != nil {
				return err
			}
			part = part[n:]
			written += int64(n)
			if written-started >= writeBackStep {
				temp.WriteBack(started, written-started)
				started = written
			}
		}
	}
	if err := temp.Sync(); err != nil {
		return err
	}
	return ctx.Err()
}
