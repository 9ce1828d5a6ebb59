package kafka

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Every version of every API that is served has a shape that fits its requests
// to the byte.
func TestShapesFit(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, a := range APIs() {
		if shapes[a.Key] == nil {
			t.Errorf("API key %d has no shape", a.Key)
			continue
		}
		for v := a.Min; v <= a.Max; v++ {
			for range 50 {
				req := kmsg.RequestForKey(a.Key)
				randomize(rnd, reflect.ValueOf(req).Elem())
				req.SetVersion(v)
				body := req.AppendTo(nil)
				rest, ok := fits(shapes[a.Key](v), req.IsFlexible(), body)
				if !ok || rest != 0 {
					t.Fatalf("%T version %d: shape %q leaves %d of %d bytes, ok %v", req, v, shapes[a.Key](v), rest, len(body), ok)
				}
				if len(body) > 0 {
					if _, ok := fits(shapes[a.Key](v), req.IsFlexible(), body[:len(body)-1]); ok {
						t.Fatalf("%T version %d: a truncated request fits", req, v)
					}
				}
			}
		}
	}
}

// randomize fills a request with arbitrary values.
func randomize(rnd *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if tags, ok := reflect.TypeAssert[*kmsg.Tags](v.Addr()); ok {
			for range rnd.IntN(3) {
				tags.Set(100+rnd.Uint32N(50), make([]byte, rnd.IntN(5)))
			}
			return
		}
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && v.Type().Field(i).Name != "Version" {
				randomize(rnd, f)
			}
		}
	case reflect.Pointer:
		if rnd.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			randomize(rnd, v.Elem())
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rnd.IntN(4), 4))
		for i := range v.Len() {
			randomize(rnd, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			randomize(rnd, v.Index(i))
		}
	case reflect.String:
		v.SetString("some name"[:rnd.IntN(9)])
	case reflect.Bool:
		v.SetBool(rnd.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(rnd.Int64N(128))
	case reflect.Float64:
		v.SetFloat(rnd.Float64())
	case reflect.Uint8:
		v.SetUint(rnd.Uint64N(256))
	default:
		panic("BUG: a request has a " + v.Kind().String())
	}
}

// A frame cannot claim more elements than are affordable.
func TestElementsAreCounted(t *testing.T) {
	topics := make([]byte, 4+2*(elementsMax+1))
	topics[1], topics[3] = 4, 1 // elementsMax + 1 empty names
	if _, ok := fits(shapes[3](1), false, topics); ok {
		t.Error("too many elements fit")
	}
	topics[3] = 0
	if _, ok := fits(shapes[3](1), false, topics); !ok {
		t.Error("as many elements as are allowed do not fit")
	}
}

// What fits is decoded without a panic.
func FuzzRequests(f *testing.F) {
	for _, a := range APIs() {
		for v := a.Min; v <= a.Max; v++ {
			req := kmsg.RequestForKey(a.Key)
			req.SetVersion(v)
			f.Add(a.Key, v, req.AppendTo(nil))
		}
	}
	apis := map[int16]API{}
	for _, a := range APIs() {
		apis[a.Key] = a
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		a, ok := apis[key]
		if !ok || version < a.Min || version > a.Max {
			return
		}
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		_, fit := fits(shapes[key](version), req.IsFlexible(), body)
		if err := req.ReadFrom(body); err == nil && !fit && len(body) < elementsMax {
			// The decoder may accept what we refuse only where it is more lenient.
			if again := req.AppendTo(nil); string(again) == string(body) {
				t.Errorf("%T version %d is well formed and does not fit", req, version)
			}
		}
	})
}

// Kafka closes the connection where an array is null that must not be.
func TestNullArrays(t *testing.T) {
	for _, c := range []struct {
		key, version int16
		body         []byte
		ok           bool
	}{
		{3, 0, []byte{0xff, 0xff, 0xff, 0xff}, false},
		{3, 1, []byte{0xff, 0xff, 0xff, 0xff}, true},
		{3, 1, []byte{0xff, 0xff, 0xff, 0xfe}, true},
		{42, 1, []byte{0xff, 0xff, 0xff, 0xff}, false},
		{42, 2, []byte{0, 0}, false},
		{35, 2, []byte{0, 0}, true},
	} {
		req := kmsg.RequestForKey(c.key)
		req.SetVersion(c.version)
		if _, ok := fits(shapes[c.key](c.version), req.IsFlexible(), c.body); ok != c.ok {
			t.Errorf("key %d version %d, %x: %v", c.key, c.version, c.body, ok)
		}
	}
}
