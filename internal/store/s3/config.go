package s3

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/karst-io/karst/internal/store"
)

// Config is what a URL says.
type Config struct {
	Bucket    string
	Prefix    string // without slashes at its ends
	Region    string
	Endpoint  string
	PathStyle bool
	SSE       types.ServerSideEncryption // empty: the bucket's own
	KMSKey    string
	Profile   string
}

// ParseURL reads an s3:// URL.
func ParseURL(raw string) (Config, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return Config{}, fmt.Errorf("s3: %w", err)
	}
	c := Config{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	switch {
	case u.Scheme != "s3":
		return Config{}, fmt.Errorf("s3: scheme %q: need s3", u.Scheme)
	case u.User != nil:
		return Config{}, errors.New("s3: credentials in the URL: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a profile or a role")
	case c.Bucket == "":
		return Config{}, errors.New("s3: no bucket: need s3://bucket or s3://bucket/prefix")
	}
	if c.Prefix != "" {
		if err := store.CheckName(c.Prefix); err != nil {
			return Config{}, fmt.Errorf("s3: prefix: %w", err)
		}
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Config{}, fmt.Errorf("s3: %w", err)
	}
	c.PathStyle = query.Has("endpoint")
	for key, values := range query {
		if len(values) != 1 {
			return Config{}, fmt.Errorf("s3: parameter %s is given %d times", key, len(values))
		}
		if err := c.set(key, values[0]); err != nil {
			return Config{}, fmt.Errorf("s3: %w", err)
		}
	}
	if c.KMSKey != "" && c.SSE != types.ServerSideEncryptionAwsKms {
		return Config{}, errors.New("s3: kms_key needs sse=aws:kms")
	}
	return c, nil
}

func (c *Config) set(key, value string) (err error) {
	switch key {
	case "region":
		c.Region = value
	case "endpoint":
		e, err := url.Parse(value)
		if err != nil || e.Scheme != "http" && e.Scheme != "https" || e.Host == "" || e.User != nil {
			return fmt.Errorf("endpoint %q: need http://host:port or https://host", value)
		}
		c.Endpoint = value
	case "path_style":
		if c.PathStyle, err = strconv.ParseBool(value); err != nil {
			return fmt.Errorf("path_style %q: need true or false", value)
		}
	case "sse":
		c.SSE = types.ServerSideEncryption(value)
		if c.SSE != types.ServerSideEncryptionAes256 && c.SSE != types.ServerSideEncryptionAwsKms {
			return fmt.Errorf("sse %q: need AES256 or aws:kms", value)
		}
	case "kms_key":
		c.KMSKey = value
	case "profile":
		c.Profile = value
	default:
		return fmt.Errorf("unknown parameter %q: known are endpoint, kms_key, path_style, profile, region, sse", key)
	}
	return nil
}

// directory says whether the bucket is an S3 Express One Zone directory bucket.
func (c Config) directory() bool { return strings.HasSuffix(c.Bucket, "--x-s3") }

// String is the URL.
func (c Config) String() string {
	u := url.URL{Scheme: "s3", Host: c.Bucket, Path: c.Prefix}
	q := url.Values{}
	for key, value := range map[string]string{
		"region": c.Region, "endpoint": c.Endpoint, "sse": string(c.SSE), "kms_key": c.KMSKey, "profile": c.Profile,
	} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if c.PathStyle != (c.Endpoint != "") {
		q.Set("path_style", strconv.FormatBool(c.PathStyle))
	}
	u.RawQuery = q.Encode()
	return u.String()
}
