package s3_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/s3"
)

// open opens a bucket on a server that answers with handler.
func open(t *testing.T, bucket string, handler http.HandlerFunc) *s3.Store {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c, err := s3.ParseURL("s3://" + bucket + "/p?endpoint=" + url.QueryEscape(server.URL))
	if err != nil {
		t.Fatal(err)
	}
	s, err := s3.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestErrors: one request per call, whatever the answer, and only what is
// definite is reported as such.
func TestErrors(t *testing.T) {
	definite := []error{store.ErrExists, store.ErrNotFound, store.ErrThrottled}
	for _, tt := range []struct {
		status          int
		code            string
		create, getWant error
	}{
		{412, "PreconditionFailed", store.ErrExists, nil},
		{409, "ConditionalRequestConflict", nil, nil},
		{404, "NoSuchKey", nil, store.ErrNotFound},
		{404, "NoSuchBucket", nil, nil},
		{429, "TooManyRequests", store.ErrThrottled, store.ErrThrottled},
		{503, "SlowDown", store.ErrThrottled, store.ErrThrottled},
		{503, "ServiceUnavailable", store.ErrThrottled, store.ErrThrottled},
		{503, "", nil, nil},
		{500, "InternalError", nil, nil},
		{403, "AccessDenied", nil, nil},
		{301, "PermanentRedirect", nil, nil},
		{200, "", nil, nil},
	} {
		t.Run(fmt.Sprintf("%d %s", tt.status, tt.code), func(t *testing.T) {
			var requests atomic.Int64
			s := open(t, "bucket", func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					t.Error(err)
				}
				if tt.status == 200 { // a lost response
					w.Header().Set("Content-Length", "10")
					return
				}
				if tt.code != "" {
					w.Header().Set("X-Amz-Request-Id", "1")
				}
				w.WriteHeader(tt.status)
				if tt.code != "" {
					fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", tt.code)
				}
			})
			expect := func(verb string, err, want error) {
				t.Helper()
				for _, d := range definite {
					if errors.Is(err, d) != (d == want) { //nolint:errorlint // want is one of them, or nil
						t.Errorf("%s = %v, want %v", verb, err, want)
					}
				}
				if err == nil {
					t.Errorf("%s succeeded", verb)
				}
				if n := requests.Swap(0); n != 1 {
					t.Errorf("%s made %d requests", verb, n)
				}
			}
			if tt.status != 200 {
				expect("create", s.Create(t.Context(), "a/b", store.Bytes([]byte("x"))), tt.create)
			}
			if tt.status != 412 {
				_, err := s.Get(t.Context(), "a/b", 0, make([]byte, 10))
				expect("get", err, tt.getWant)
			}
		})
	}
}

// TestCreateRequest is what a create sends.
func TestCreateRequest(t *testing.T) {
	s := open(t, "bucket", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "123456789" {
			t.Errorf("body %q, %v", body, err)
		}
		for key, want := range map[string]string{
			"If-None-Match":         "*",
			"X-Amz-Checksum-Crc32c": "4waSgw==", // the check value of CRC-32C
			"X-Amz-Trailer":         "",
			"Content-Encoding":      "",
			"Content-Length":        "9",
		} {
			if got := r.Header.Get(key); got != want {
				t.Errorf("%s: %q, want %q", key, got, want)
			}
		}
		if r.URL.Path != "/bucket/p/a/b" || len(r.TransferEncoding) != 0 {
			t.Errorf("path %s, transfer encoding %v", r.URL.Path, r.TransferEncoding)
		}
		if auth := r.Header.Get("Authorization"); !strings.Contains(auth, "x-amz-checksum-crc32c") {
			t.Errorf("the checksum is not signed: %s", auth)
		}
	})
	body := store.Body{Parts: [][]byte{[]byte("1234"), nil, []byte("56789"), {}}}
	if err := s.Create(t.Context(), "a/b", body); err != nil {
		t.Fatal(err)
	}
}

// TestDirectoryBucketList: pages in no order, prefixes that end in a slash, and
// no start.
func TestDirectoryBucketList(t *testing.T) {
	pages := [][]string{{"p/w/3", "p/w/1", "p/w/"}, {"p/w/20", "p/w/2", "p/w/4/x"}}
	s := open(t, "b--use1-az4--x-s3", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Has("session") {
			fmt.Fprint(w, "<CreateSessionResult><Credentials><AccessKeyId>a</AccessKeyId><SecretAccessKey>b</SecretAccessKey>"+
				"<SessionToken>c</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></CreateSessionResult>")
			return
		}
		if q.Get("prefix") != "p/w/" || q.Has("start-after") {
			t.Errorf("query %v", q)
		}
		page := 0
		if q.Get("continuation-token") == "more" {
			page = 1
		}
		fmt.Fprintf(w, "<ListBucketResult><IsTruncated>%t</IsTruncated><NextContinuationToken>more</NextContinuationToken>", page == 0)
		for _, key := range pages[page] {
			fmt.Fprintf(w, "<Contents><Key>%s</Key><Size>1</Size></Contents>", key)
		}
		fmt.Fprint(w, "</ListBucketResult>")
	})
	var got []string
	for info, err := range s.List(t.Context(), "w/2", "w/2") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info.Name)
	}
	if !slices.Equal(got, []string{"w/20"}) {
		t.Errorf("list = %v", got)
	}
	got = nil
	for info, err := range s.List(t.Context(), "w/", "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info.Name)
	}
	if !slices.Equal(got, []string{"w/1", "w/2", "w/20", "w/3", "w/4/x"}) {
		t.Errorf("list = %v", got)
	}
}

// TestListOutOfOrder: a server that breaks the order is caught.
func TestListOutOfOrder(t *testing.T) {
	s := open(t, "bucket", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<ListBucketResult><Contents><Key>p/b</Key></Contents><Contents><Key>p/a</Key></Contents></ListBucketResult>")
	})
	var last error
	for _, err := range s.List(t.Context(), "", "") {
		last = err
	}
	if last == nil {
		t.Error("nothing was reported")
	}
}

// TestDeleteErrors: an object that could not be deleted is reported by name.
func TestDeleteErrors(t *testing.T) {
	s := open(t, "bucket", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<DeleteResult><Error><Key>p/a</Key><Code>SlowDown</Code></Error><Error><Key>p/b</Key><Code>NoSuchKey</Code></Error>"+
			"<Error><Key>p/c/d</Key><Code>AccessDenied</Code></Error></DeleteResult>")
	})
	err := s.Delete(t.Context(), []string{"a", "b", "c/d", "e"})
	if !errors.Is(err, store.ErrThrottled) || !strings.Contains(err.Error(), "delete a:") || !strings.Contains(err.Error(), "delete c/d: AccessDenied") || strings.Contains(err.Error(), "delete b") {
		t.Errorf("Delete = %v", err)
	}
}

// TestBodyIsNotReadAfterReturn: a server that answers before it read the body,
// and keeps the connection open, finds no byte of the next owner in it.
func TestBodyIsNotReadAfterReturn(t *testing.T) {
	const size = 32 << 20
	release := make(chan struct{})
	dirty := make(chan bool, 1)
	s := open(t, "bucket", func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if err := control.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		// The client sends a long body only once the server begins to read it.
		if _, err := io.ReadFull(r.Body, make([]byte, 1000)); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Length", "0") // the client has the whole answer
		w.WriteHeader(http.StatusPreconditionFailed)
		if err := control.Flush(); err != nil {
			t.Error(err)
		}
		<-release
		found := false
		p := make([]byte, 64<<10)
		for {
			n, err := r.Body.Read(p)
			found = found || slices.Contains(p[:n], 0xdb)
			if err != nil {
				dirty <- found
				return
			}
		}
	})
	b := make([]byte, size)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := s.Create(ctx, "a", store.Bytes(b))
	for i := range b {
		b[i] = 0xdb
	}
	close(release)
	if !errors.Is(err, store.ErrExists) {
		t.Errorf("Create = %v, want ErrExists", err)
	}
	if <-dirty {
		t.Error("bytes written after the call returned were sent")
	}
}

// TestWrongRange: other bytes than those asked for are an error, not an answer.
func TestWrongRange(t *testing.T) {
	for _, tt := range []struct {
		off          int64
		contentRange string // empty: status 200
		length       int
		want         int // bytes read, -1: an error
	}{
		{0, "bytes 0-9/100", 10, 10},
		{0, "bytes 0-4/100", 5, -1},
		{0, "bytes 0-4/5", 5, 5},
		{0, "bytes 5-14/100", 10, -1},
		{0, "bytes 0-9/100", 8, -1},
		{0, "bytes 0-9/*", 10, -1},
		{0, "", 100, 10},
		{0, "", 4, 4},
		{0, "", 0, 0},
		{5, "", 100, -1},
		{-10, "bytes 90-99/100", 10, 10},
		{-10, "bytes 0-9/100", 10, -1},
		{-10, "", 8, 8},
		{-10, "", 100, -1},
		{-20, "bytes 80-99/100", 20, 10},
	} {
		s := open(t, "bucket", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(tt.length))
			if tt.contentRange != "" {
				w.Header().Set("Content-Range", tt.contentRange)
				w.WriteHeader(http.StatusPartialContent)
			}
			_, _ = w.Write(make([]byte, tt.length)) // the client may have gone
		})
		n, err := s.Get(t.Context(), "a", tt.off, make([]byte, 10))
		if (err != nil) != (tt.want < 0) || err == nil && n != tt.want {
			t.Errorf("%+v: Get = %d, %v", tt, n, err)
		}
	}
}
