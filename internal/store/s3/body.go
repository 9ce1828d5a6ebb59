package s3

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"sync"

	"github.com/karst-io/karst/internal/store"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the value of x-amz-checksum-crc32c.
func checksum(b store.Body) string {
	var sum uint32
	for _, p := range b.Parts {
		sum = crc32.Update(sum, castagnoli, p)
	}
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

var errBodyEnded = errors.New("upload has ended")

// body reads the parts one after the other. Its owner ends it before it gives
// the bytes back: the HTTP transport may go on reading after the call returned
// (a cancelled one, or one that was answered early), and must not find other
// bytes there. A read that is under way only copies, so end does not wait long.
type body struct {
	size int64

	mu    sync.Mutex // held while bytes are copied
	parts [][]byte   // nil once ended
	ended bool
	at    int64 // position in the concatenation
	part  int   // index of the part that at is in
	begin int64 // where that part begins
}

var _ io.ReadSeeker = (*body)(nil)

func newBody(b store.Body) *body { return &body{size: b.Size(), parts: b.Parts} }

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return 0, errBodyEnded
	}
	total := 0
	for total < len(p) && b.part < len(b.parts) {
		part := b.parts[b.part]
		n := copy(p[total:], part[b.at-b.begin:])
		total += n
		b.at += int64(n)
		if b.at-b.begin == int64(len(part)) {
			b.begin = b.at
			b.part++
		}
	}
	if total == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return total, nil
}

// Seek implements io.Seeker.
func (b *body) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += b.at
	case io.SeekEnd:
		offset += b.size
	}
	if offset < 0 || offset > b.size {
		return 0, errors.New("seek outside of the body")
	}
	b.at, b.part, b.begin = offset, 0, 0
	for b.part < len(b.parts) && offset-b.begin >= int64(len(b.parts[b.part])) {
		b.begin += int64(len(b.parts[b.part]))
		b.part++
	}
	return offset, nil
}

// end makes all further reads fail.
func (b *body) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended, b.parts = true, nil
}
