package objlog

import (
	"context"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/object"
)

// NamedMax bounds the payload of an object made by CreateNamed, in bytes.
const NamedMax = 1 << 20

// Frame fills in length and check of the header (CRC-32C of the whole payload)
// and returns it with the object's bytes: header, then payload.
func Frame(h object.Header, payload []byte) (object.Header, store.Body) {
	h.Length = int64(len(payload))
	h.Check = object.Checksum(payload)
	b := h.Append(make([]byte, 0, object.HeaderSize+len(payload)))
	return h, store.Bytes(append(b, payload...))
}

// CreateNamed creates a single object (the cluster object, the claim of a
// term), framed from h and payload, and returns what holds the name afterwards
// and whether that is ours. h.Nonce must be fresh. A name once taken and then
// empty is store.ErrNotFound; damage is a *karst.CorruptError; ErrUnknown means
// that ctx ended first.
func CreateNamed(ctx context.Context, st Store, name string, h object.Header, payload []byte) (object.Header, []byte, bool, error) {
	if len(payload) > NamedMax {
		panic("BUG: payload of " + name + " above NamedMax")
	}
	h, body := Frame(h, payload)
	f, err := create(ctx, st, name, h, body)
	if err != nil {
		return object.Header{}, nil, false, err
	}
	if f.ours {
		return h, payload, true, nil
	}
	winner, theirs, err := Read(ctx, st, name, NamedMax)
	return winner, theirs, false, err
}
