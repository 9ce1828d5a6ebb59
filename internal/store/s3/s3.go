package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/logging"

	"github.com/karst-io/karst/internal/store"
)

// Bounds of the HTTP client. There is none on a whole request: its context has
// the caller's.
const (
	connsIdleMax      = 256
	connIdleMax       = 90 * time.Second
	dialMax           = 5 * time.Second
	tlsHandshakeMax   = 5 * time.Second
	responseHeaderMax = 60 * time.Second // from the end of the body
	writeBufferSize   = 64 << 10
	readBufferSize    = 64 << 10
	// A body of 2 MiB or more waits for the server's consent (100 Continue): a
	// server that refuses a create without reading its body often closes the
	// connection, which loses the refusal. One that never consents costs this.
	continueMax        = 200 * time.Millisecond
	continueMin        = 2 << 20 // bytes
	listPageSize int32 = 1000
)

// Store is a bucket on a server that speaks S3.
type Store struct {
	config Config
	prefix string // of all keys, empty or with a slash at its end
	client *s3.Client
	http   *http.Transport
	upload []func(*s3.Options) // of requests with a body
}

var _ store.Store = (*Store)(nil)

// Open makes a Store. It looks for credentials but makes no request to the
// bucket: the start-up probe does.
func Open(ctx context.Context, c Config) (*Store, error) {
	var load []func(*config.LoadOptions) error
	if c.Region != "" {
		load = append(load, config.WithRegion(c.Region))
	}
	if c.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(c.Profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("s3: %w", err)
	}
	if cfg.Region == "" {
		if c.Endpoint == "" {
			return nil, errors.New("s3: no region: add ?region=eu-west-1 (yours) to the URL or set AWS_REGION")
		}
		cfg.Region = "us-east-1"
	}
	s := &Store{config: c, http: newTransport()}
	if c.Prefix != "" {
		s.prefix = c.Prefix + "/"
	}
	s.client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		if c.Endpoint != "" {
			o.BaseEndpoint = aws.String(c.Endpoint)
		}
		o.UsePathStyle = c.PathStyle
		o.HTTPClient = &http.Client{Transport: s.http, CheckRedirect: noRedirect}
		o.Logger = logging.Nop{} // what matters is in the error
		o.Retryer = aws.NopRetryer{}
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.ContinueHeaderThresholdBytes = continueMin
	})
	if endpoint := aws.ToString(s.client.Options().BaseEndpoint); !strings.HasPrefix(endpoint, "http://") {
		// TLS protects the body, and the signed CRC-32C covers it.
		s.upload = append(s.upload, s3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware))
	}
	return s, nil
}

func newTransport() *http.Transport {
	t := awshttp.NewBuildableClient().GetTransport()
	t.DialContext = (&net.Dialer{Timeout: dialMax, KeepAlive: 30 * time.Second}).DialContext
	t.MaxIdleConns = connsIdleMax
	t.MaxIdleConnsPerHost = connsIdleMax
	t.IdleConnTimeout = connIdleMax
	t.TLSHandshakeTimeout = tlsHandshakeMax
	t.ExpectContinueTimeout = continueMax
	t.ResponseHeaderTimeout = responseHeaderMax
	t.WriteBufferSize = writeBufferSize
	t.ReadBufferSize = readBufferSize
	t.DisableCompression = true
	return t
}

// noRedirect leaves redirects to the caller: one to another region would drop
// the body and the signature.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Get implements store.Reader.
func (s *Store) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	if err := check(ctx, name); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		_, err := s.Head(ctx, name)
		return 0, err
	}
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &s.config.Bucket, Key: s.key(name), Range: aws.String(byteRange(off, len(p))),
	})
	if status(err) == http.StatusRequestedRangeNotSatisfiable {
		return 0, nil // the object ends before off, or is empty
	}
	if err != nil {
		return 0, failure("get", name, err)
	}
	defer out.Body.Close() // the bytes are read by then
	length, err := checkRange(out, off, len(p))
	if err != nil {
		return 0, fmt.Errorf("s3: get %s: %w", name, err)
	}
	n, err := io.ReadFull(out.Body, p[:min(int64(len(p)), length)])
	if err != nil {
		return n, fmt.Errorf("s3: get %s: after %d bytes: %w", name, n, err)
	}
	return n, nil
}

// Head implements store.Reader.
func (s *Store) Head(ctx context.Context, name string) (store.Info, error) {
	if err := check(ctx, name); err != nil {
		return store.Info{}, err
	}
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.config.Bucket, Key: s.key(name)})
	if err != nil {
		return store.Info{}, failure("head", name, err)
	}
	return store.Info{Name: name, Size: aws.ToInt64(out.ContentLength)}, nil
}

// Put implements store.Writer.
func (s *Store) Put(ctx context.Context, name string, b store.Body) error {
	return s.write(ctx, "put", name, b, nil)
}

// Create implements store.Creator.
func (s *Store) Create(ctx context.Context, name string, b store.Body) error {
	return s.write(ctx, "create", name, b, aws.String("*"))
}

func (s *Store) write(ctx context.Context, verb, name string, b store.Body, ifNoneMatch *string) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	body := newBody(b)
	// The transport may outlive the call. Nothing is read after this.
	defer body.end()
	in := &s3.PutObjectInput{
		Bucket: &s.config.Bucket, Key: s.key(name), IfNoneMatch: ifNoneMatch,
		Body: body, ContentLength: aws.Int64(body.size), ChecksumCRC32C: aws.String(checksum(b)),
		ServerSideEncryption: s.config.SSE,
	}
	if s.config.KMSKey != "" {
		in.SSEKMSKeyId = &s.config.KMSKey
	}
	if _, err := s.client.PutObject(ctx, in, s.upload...); err != nil {
		return failure(verb, name, err)
	}
	return nil
}

// Delete implements store.Deleter.
func (s *Store) Delete(ctx context.Context, names []string) error {
	if err := store.CheckDelete(names); err != nil {
		return fmt.Errorf("s3: %w", err)
	}
	if len(names) == 0 {
		return ctx.Err()
	}
	ids := make([]types.ObjectIdentifier, len(names))
	for i, n := range names {
		ids[i].Key = s.key(n)
	}
	out, err := s.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{
		Bucket: &s.config.Bucket, Delete: &types.Delete{Objects: ids, Quiet: aws.Bool(true)},
	})
	if err != nil {
		return failure("delete", fmt.Sprintf("%d objects, %s first", len(names), names[0]), err)
	}
	var failed []error
	for _, e := range out.Errors {
		code := aws.ToString(e.Code)
		if code == "NoSuchKey" {
			continue
		}
		err := fmt.Errorf("s3: delete %s: %s: %s", strings.TrimPrefix(aws.ToString(e.Key), s.prefix), code, aws.ToString(e.Message))
		if throttled(code) {
			err = fmt.Errorf("%w: %w", err, store.ErrThrottled)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// Close implements store.Store.
func (s *Store) Close() error {
	s.http.CloseIdleConnections()
	return nil
}

func (s *Store) String() string { return s.config.String() }

func (s *Store) key(name string) *string { return aws.String(s.prefix + name) }

func check(ctx context.Context, name string) error {
	if err := store.CheckName(name); err != nil {
		return fmt.Errorf("s3: %w", err)
	}
	return ctx.Err()
}
