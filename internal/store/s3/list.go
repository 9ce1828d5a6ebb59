package s3

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/karst-io/karst/internal/store"
)

// List implements store.Reader.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[store.Info, error] {
	if !store.PossiblePrefix(prefix) {
		return func(func(store.Info, error) bool) {}
	}
	if s.config.directory() {
		return s.listDirectory(ctx, prefix, after)
	}
	in := &s3.ListObjectsV2Input{Prefix: s.key(prefix)}
	if after != "" {
		in.StartAfter = s.key(after)
	}
	return func(yield func(store.Info, error) bool) {
		last := after
		for info, err := range s.pages(ctx, in) {
			if err == nil && info.Name <= last {
				err = fmt.Errorf("s3: list %s: %s comes after %s: the server does not list in byte order", prefix, info.Name, last)
			}
			if !yield(info, err) || err != nil {
				return
			}
			last = info.Name
		}
	}
}

// listDirectory lists a directory bucket, which takes only prefixes that end in
// a slash, knows no start and no order.
func (s *Store) listDirectory(ctx context.Context, prefix, after string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		folder := s.prefix + prefix
		folder = folder[:strings.LastIndexByte(folder, '/')+1]
		in := &s3.ListObjectsV2Input{}
		if folder != "" {
			in.Prefix = &folder
		}
		var all []store.Info
		for info, err := range s.pages(ctx, in) {
			if err != nil {
				yield(store.Info{}, err)
				return
			}
			if strings.HasPrefix(info.Name, prefix) && info.Name > after {
				all = append(all, info)
			}
		}
		slices.SortFunc(all, func(a, b store.Info) int { return cmp.Compare(a.Name, b.Name) })
		for _, info := range all {
			if !yield(info, nil) {
				return
			}
		}
	}
}

// pages yields what the server lists, page by page, less keys that are no names
// of ours (a console makes empty objects for folders).
func (s *Store) pages(ctx context.Context, in *s3.ListObjectsV2Input) iter.Seq2[store.Info, error] {
	in.Bucket = &s.config.Bucket
	in.MaxKeys = aws.Int32(listPageSize)
	return func(yield func(store.Info, error) bool) {
		page := *in
		for {
			out, err := s.client.ListObjectsV2(ctx, &page)
			if err != nil {
				yield(store.Info{}, failure("list", aws.ToString(in.Prefix), err))
				return
			}
			for _, o := range out.Contents {
				name, ours := strings.CutPrefix(aws.ToString(o.Key), s.prefix)
				if !ours || store.CheckName(name) != nil {
					continue
				}
				if !yield(store.Info{Name: name, Size: aws.ToInt64(o.Size)}, nil) {
					return
				}
			}
			if !aws.ToBool(out.IsTruncated) {
				return
			}
			if aws.ToString(out.NextContinuationToken) == "" {
				yield(store.Info{}, fmt.Errorf("s3: list %s: the server has more but does not say where", aws.ToString(in.Prefix)))
				return
			}
			page.ContinuationToken = out.NextContinuationToken
		}
	}
}
