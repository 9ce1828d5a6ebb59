package s3

import (
	"errors"
	"fmt"
	"math"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// byteRange is the Range header for n bytes at off. With a negative off it asks
// for all from there to the end: HTTP knows no shorter way to say it.
func byteRange(off int64, n int) string {
	if off < 0 {
		return fmt.Sprintf("bytes=-%d", -max(off, -math.MaxInt64))
	}
	return fmt.Sprintf("bytes=%d-%d", off, off+min(int64(n), math.MaxInt64-off)-1)
}

// checkRange checks that the response is what byteRange asked for, less what is
// beyond the object's end, and returns its length. A shorter one would be taken
// for the end of the object, another one for its bytes.
func checkRange(out *s3.GetObjectOutput, off int64, n int) (int64, error) {
	if out.ContentLength == nil {
		return 0, errors.New("response without a length")
	}
	length := *out.ContentLength
	first, last, size := int64(0), length-1, length // the whole object
	if r := aws.ToString(out.ContentRange); r != "" {
		if _, err := fmt.Sscanf(r, "bytes %d-%d/%d", &first, &last, &size); err != nil {
			return 0, fmt.Errorf("response with content range %q: %w", r, err)
		}
	}
	wantFirst, wantLast := off, size-1
	if off < 0 {
		wantFirst = max(0, size+off)
	} else {
		wantLast = min(size-1, off+min(int64(n), math.MaxInt64-off)-1)
		if out.ContentRange == nil && off == 0 {
			wantLast = size - 1 // the server ignored the range, which does no harm
		}
	}
	if first != wantFirst || last != wantLast || length != last-first+1 {
		return 0, fmt.Errorf("response has bytes %d-%d of %d in %d, want %d-%d", first, last, size, length, wantFirst, wantLast)
	}
	return length, nil
}
