package kafka

import (
	"encoding/binary"
	"strings"
)

// elementsMax bounds the array elements and tagged fields of one request. The
// generated decoders allocate what an array claims to hold, up to one element
// for each byte that is left: hundreds of bytes of memory for one of the frame.
// Therefore a request's shape is walked first, without allocating.
const elementsMax = 1 << 18

// shapes are the layouts of the requests' bodies: a digit is that many bytes, u
// a UUID, s a string, b bytes, […] an array of structures, {…} a structure that
// may be null, a an array of the primitive that follows. An array may be null only
// with a ? before it. Tagged fields come by themselves where versions are flexible.
var shapes = map[int16]func(version int16) string{
	produceKey: func(v int16) string { return "s24[" + pick(v >= 13, "u", "s") + "[4b]]" },
	1: func(v int16) string {
		topic := pick(v >= 13, "u", "s")
		return pick(v < 15, "4", "") + "4441" + pick(v >= 7, "44", "") +
			"[" + topic + "[4" + pick(v >= 9, "4", "") + "8" + pick(v >= 12, "4", "") + pick(v >= 5, "8", "") + "4]]" +
			pick(v >= 7, "["+topic+"a4]", "") + pick(v >= 11, "s", "")
	},
	2: func(v int16) string {
		return "4" + pick(v >= 2, "1", "") + "[s[4" + pick(v >= 4, "4", "") + "8]]" + pick(v >= 10, "4", "")
	},
	3: func(v int16) string {
		return pick(v >= 1, "?", "") + "[" + pick(v >= 10, "u", "") + "s]" + pick(v >= 4, "1", "") + pick(v >= 8 && v <= 10, "1", "") + pick(v >= 8, "1", "")
	},
	8: func(v int16) string {
		return "s4s" + pick(v >= 7, "s", "") + pick(v <= 4, "8", "") + "[" + pick(v >= 10, "u", "s") + "[48" + pick(v >= 6, "4", "") + "s]]"
	},
	9: func(v int16) string {
		if v < 8 {
			return "s" + pick(v >= 2, "?", "") + "[sa4]" + pick(v >= 7, "1", "")
		}
		return "[s" + pick(v >= 9, "s4", "") + "?[" + pick(v >= 10, "u", "s") + "a4]]1"
	},
	10: func(v int16) string { return pick(v < 4, "s", "") + pick(v >= 1, "1", "") + pick(v >= 4, "as", "") },
	11: func(v int16) string {
		return "s4" + pick(v >= 1, "4", "") + "s" + pick(v >= 5, "s", "") + "s[sb]" + pick(v >= 8, "s", "")
	},
	12:             func(v int16) string { return "s4s" + pick(v >= 3, "s", "") },
	13:             func(v int16) string { return "s" + pick(v < 3, "s", "[ss"+pick(v >= 5, "s", "")+"]") },
	14:             func(v int16) string { return "s4s" + pick(v >= 3, "s", "") + pick(v >= 5, "ss", "") + "[sb]" },
	15:             func(v int16) string { return "as" + pick(v >= 3, "1", "") },
	16:             func(v int16) string { return pick(v >= 4, "as", "") + pick(v >= 5, "as", "") },
	apiVersionsKey: func(v int16) string { return pick(v >= 3, "ss", "") },
	19:             func(int16) string { return "[s42[4a4][ss]]41" },
	20:             func(v int16) string { return pick(v >= 6, "[su]", "as") + "4" },
	21:             func(int16) string { return "[s[48]]4" },
	22:             func(v int16) string { return "s4" + pick(v >= 3, "82", "") },
	23:             func(v int16) string { return pick(v >= 3, "4", "") + "[s[444]]" },
	32:             func(v int16) string { return "[1s?as]1" + pick(v >= 3, "1", "") },
	33:             func(int16) string { return "[1s[ss]]1" },
	37:             func(int16) string { return "[s4?[a4]]41" },
	42:             func(int16) string { return "as" },
	44:             func(int16) string { return "[1s[s1s]]1" },
	47:             func(int16) string { return "s[s[4]]" },
	60:             func(v int16) string { return "1" + pick(v >= 1, "1", "") + pick(v >= 2, "1", "") },
	74:             func(v int16) string { return pick(v >= 1, "a1", "") },

	// Those of static.go.
	17: func(int16) string { return "s" },
	29: func(int16) string { return "1s1ss11" },
	30: func(int16) string { return "[1s1ss11]" },
	31: func(int16) string { return "[1s1ss11]" },
	34: func(int16) string { return "[s[sa4]]" },
	35: func(int16) string { return "?[sa4]" },
	36: func(int16) string { return "b" },
	38: func(v int16) string { return pick(v >= 3, "ss", "") + "[ss]8" },
	39: func(int16) string { return "b8" },
	40: func(int16) string { return "b8" },
	41: func(int16) string { return "?[ss]" },
	43: func(v int16) string { return pick(v >= 1, "1", "") + "?[sa4]4" },
	45: func(v int16) string { return "4" + pick(v >= 1, "1", "") + "[s[4?a4]]" },
	46: func(int16) string { return "4?[sa4]" },
	48: func(int16) string { return "[s1s]1" },
	49: func(int16) string { return "[[ss][s81]]1" },
	50: func(int16) string { return "?[s]" },
	51: func(int16) string { return "[s1][s14bb]" },
	55: func(int16) string { return "[s[4]]" },
	57: func(v int16) string { return "4[s21]" + pick(v >= 1, "1", "") },
	61: func(int16) string { return "[sa4]" },
	64: func(int16) string { return "4" },
	65: func(int16) string { return "as" },
	66: func(v int16) string { return "asa8" + pick(v >= 1, "8", "") + pick(v >= 2, "s", "") },
	75: func(int16) string { return "[s]4{s4}" },
}

func pick(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

// walk goes through the bytes of a request along its shape.
type walk struct {
	b        []byte
	flexible bool
	elements int
	bad      bool
}

// fits reports whether body has the shape, at most elementsMax elements, and
// how many bytes follow it.
func fits(shape string, flexible bool, body []byte) (rest int, ok bool) {
	w := walk{b: body, flexible: flexible}
	w.structure(shape)
	return len(w.b), !w.bad
}

// structure walks fields up to the end of shape or the bracket that closes it,
// and the tagged fields.
func (w *walk) structure(shape string) {
	for shape != "" && shape[0] != ']' && shape[0] != '}' && !w.bad {
		nullable := shape[0] == '?'
		shape = strings.TrimPrefix(shape, "?")
		switch shape[0] {
		case 'a':
			for range w.length(nullable) {
				w.primitive(shape[1])
			}
			shape = shape[2:]
		case '[':
			n := w.length(nullable)
			for range n {
				w.structure(shape[1:])
				if w.bad {
					return
				}
			}
			shape = shape[closing(shape)+1:]
		case '{':
			if int8(w.fixed(1)) >= 0 && !w.bad {
				w.structure(shape[1:])
			}
			shape = shape[closing(shape)+1:]
		default:
			w.primitive(shape[0])
			shape = shape[1:]
		}
	}
	if w.flexible {
		w.tags()
	}
}

// closing is the index of the bracket that closes the one at the start.
func closing(shape string) int {
	depth := 0
	for i := range len(shape) {
		switch shape[i] {
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	panic("BUG: shape " + shape + " is not balanced")
}

func (w *walk) primitive(kind byte) {
	switch kind {
	case 'u':
		w.skip(16)
	case 's':
		if w.flexible {
			w.skip(int64(w.uvarint()) - 1)
		} else {
			w.skip(int64(int16(w.fixed(2))))
		}
	case 'b':
		if w.flexible {
			w.skip(int64(w.uvarint()) - 1)
		} else {
			w.skip(int64(int32(w.fixed(4))))
		}
	default:
		w.skip(int64(kind - '0'))
	}
}

// length is the number of elements of an array; none when null, which is any
// negative number.
func (w *walk) length(nullable bool) int {
	var n int64
	if w.flexible {
		n = int64(w.uvarint()) - 1
	} else {
		n = int64(int32(w.fixed(4)))
	}
	if n < 0 && !nullable {
		w.bad = true
	}
	return w.count(max(n, 0))
}

func (w *walk) count(n int64) int {
	if n > int64(len(w.b)) || n > int64(elementsMax-w.elements) {
		w.bad = true
		return 0
	}
	w.elements += int(n)
	return int(n)
}

func (w *walk) tags() {
	for range w.count(int64(w.uvarint())) {
		w.uvarint()
		w.skip(int64(w.uvarint()))
	}
}

// skip skips n bytes; a negative n is null, which has none.
func (w *walk) skip(n int64) {
	if n > int64(len(w.b)) {
		w.bad, w.b = true, nil
		return
	}
	w.b = w.b[max(n, 0):]
}

func (w *walk) fixed(n int) uint32 {
	if len(w.b) < n {
		w.bad, w.b = true, nil
		return 0
	}
	var v uint32
	for _, c := range w.b[:n] {
		v = v<<8 | uint32(c)
	}
	w.b = w.b[n:]
	return v
}

// uvarint reads a length, which never needs more than 32 bits.
func (w *walk) uvarint() uint32 {
	v, n := binary.Uvarint(w.b)
	if n <= 0 || v > 1<<31 {
		w.bad, w.b = true, nil
		return 0
	}
	w.b = w.b[n:]
	return uint32(v)
}
