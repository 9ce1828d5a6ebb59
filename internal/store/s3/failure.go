package s3

import (
	"errors"
	"fmt"
	"net/http"

	smithy "github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/karst-io/karst/internal/store"
)

// failure maps an error of the SDK to one of the contract. What it does not
// know stays an unknown outcome.
func failure(verb, name string, err error) error {
	code := ""
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		code = api.ErrorCode()
	}
	switch status(err) {
	case http.StatusNotFound:
		if code == "NoSuchBucket" {
			return fmt.Errorf("s3: %s %s: the bucket does not exist, create it or correct the URL: %w", verb, name, err)
		}
		if verb == "get" || verb == "head" {
			return fmt.Errorf("s3: %s: %w", name, store.ErrNotFound)
		}
	case http.StatusPreconditionFailed:
		// Only creates have a condition.
		return fmt.Errorf("s3: %s: %w", name, store.ErrExists)
	case http.StatusTooManyRequests:
		return fmt.Errorf("s3: %s %s: %w: %w", verb, name, store.ErrThrottled, err)
	case http.StatusServiceUnavailable:
		// Without a request's id it is from a proxy, which cannot tell whether
		// the server behind it acted. (The SDK makes up a code for those.)
		if throttled(code) && fromServer(err) {
			return fmt.Errorf("s3: %s %s: %w: %w", verb, name, store.ErrThrottled, err)
		}
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return fmt.Errorf("s3: %s %s: the bucket is in another region, correct region in the URL: %w", verb, name, err)
	case http.StatusForbidden:
		return fmt.Errorf("s3: %s %s: access denied, check the credentials and the bucket's policy: %w", verb, name, err)
	}
	// 409 ConditionalRequestConflict is among the rest: another write of the
	// name was under way, and may yet fail.
	return fmt.Errorf("s3: %s %s: %w", verb, name, err)
}

// throttled says whether the code of an error means that there were too many
// requests, and that this one was not acted upon.
func throttled(code string) bool {
	switch code {
	case "SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "RequestLimitExceeded",
		"TooManyRequests", "SlowDownRead", "SlowDownWrite":
		return true
	}
	return false
}

// status is the HTTP status of the response that err came from, 0 if none did.
func status(err error) int {
	if r, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		return r.HTTPStatusCode()
	}
	return 0
}

// fromServer says whether the response that err came from is the store's own.
func fromServer(err error) bool {
	r, ok := errors.AsType[*smithyhttp.ResponseError](err)
	return ok && r.Response != nil && r.Response.Header.Get("X-Amz-Request-Id") != ""
}
