package differ

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// frame is a request being encoded: what the header says, and the body.
type frame struct {
	key, version int16
	correlation  int32
	client       *string
	tags         []byte // of the header, nil where it has none
	body         []byte
	size         int // added to the size that the frame claims
}

func newFrame(req kmsg.Request, client string, correlation int32) *frame {
	f := &frame{key: req.Key(), version: req.GetVersion(), correlation: correlation, client: &client, body: req.AppendTo(nil)}
	if req.IsFlexible() {
		f.tags = []byte{0}
	}
	return f
}

// spoil changes the frame as a "mutate" line says:
//
//	mutate cut 3            the body's last bytes are missing, the size says so
//	mutate add 0102         bytes after the body
//	mutate set 4 ffffffff   bytes of the body are others; -4 counts from its end
//	mutate byte 30 ff       as set, but nothing if the body is shorter
//	mutate size 7           the frame claims to be so much longer
//	mutate key 999          mutate version 99
//	mutate client null      no client id
//	mutate headertags 01 05 00   the header's tagged fields
func (f *frame) spoil(how []string) error {
	n, notNumber := strconv.Atoi(append(how, "")[1])
	b, notHex := hex.DecodeString(strings.Join(how[1:], ""))
	switch how[0] {
	case "cut":
		f.body = f.body[:max(len(f.body)-n, 0)]
		return notNumber
	case "add":
		f.body = append(f.body, b...)
		return notHex
	case "set":
		if len(how) != 3 || notNumber != nil {
			return fmt.Errorf("set AT BYTES")
		}
		if b, notHex = hex.DecodeString(how[2]); n < 0 {
			n += len(f.body)
		}
		if n < 0 || n+len(b) > len(f.body) {
			return fmt.Errorf("set outside of the body, which has %d bytes", len(f.body))
		}
		copy(f.body[n:], b)
		return notHex
	case "byte":
		if len(how) != 3 || notNumber != nil || n < 0 {
			return fmt.Errorf("byte AT BYTE")
		}
		if b, notHex = hex.DecodeString(how[2]); n < len(f.body) {
			copy(f.body[n:], b)
		}
		return notHex
	case "size":
		f.size = n
		return notNumber
	case "key":
		f.key = int16(n)
		return notNumber
	case "version":
		f.version = int16(n)
		return notNumber
	case "client":
		f.client = nil
		return nil
	case "headertags":
		f.tags = b
		return notHex
	}
	return fmt.Errorf("cannot mutate %q", how[0])
}

// bytes is the frame with its size.
func (f *frame) bytes() []byte {
	be := binary.BigEndian
	out := be.AppendUint16(make([]byte, 4), uint16(f.key))
	out = be.AppendUint16(out, uint16(f.version))
	out = be.AppendUint32(out, uint32(f.correlation))
	if f.client == nil {
		out = be.AppendUint16(out, 0xffff)
	} else {
		out = append(be.AppendUint16(out, uint16(len(*f.client))), *f.client...)
	}
	out = append(append(out, f.tags...), f.body...)
	be.PutUint32(out, uint32(len(out)-4+f.size))
	return out
}
