package record

import (
	"bytes"
	"testing"
)

func seed(f *testing.F) {
	for _, codec := range allCodecs {
		f.Add(build(f, codec, samples(3, 30)))
		f.Add(gapped(f, codec, samples(3, 30)))
	}
	f.Add(EncodeMarker(CommitMarker, 1, 2, 3, now))
}

// FuzzValidate: whatever is accepted can be read back, record by record, and is
// accepted again as it is.
func FuzzValidate(f *testing.F) {
	seed(f)
	codecs := NewCodecs(Limits{Bytes: 4 << 20})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= HeaderSize {
			b = resum(bytes.Clone(b)) // else nothing gets past the CRC
		}
		got, err := NewValidator(codecs).Validate(b, rules())
		if err != nil {
			return
		}
		n := int32(0)
		for r, err := range NewDecoder(codecs).Records(got.Bytes) {
			if err != nil {
				t.Fatalf("accepted, but unreadable: %v", err)
			}
			if int32(r.Offset) != n {
				t.Fatalf("record %d has offset %d", n, r.Offset)
			}
			n++
		}
		if n != got.Info.Count {
			t.Fatalf("%d records of %d", n, got.Info.Count)
		}
		again, err := NewValidator(codecs).Validate(got.Bytes, rules())
		if err != nil || again.Reencoded || again.Info != got.Info {
			t.Fatalf("%+v, again %+v, %v", got.Info, again.Info, err)
		}
	})
}

// FuzzParse: reading stored bytes never panics nor runs away.
func FuzzParse(f *testing.F) {
	seed(f)
	codecs := NewCodecs(Limits{Bytes: 4 << 20})
	f.Fuzz(func(_ *testing.T, b []byte) {
		d := NewDecoder(codecs)
		for batch, err := range Batches(b) {
			if err != nil {
				break
			}
			for _, err := range d.Records(batch.Bytes) {
				if err != nil {
					break
				}
			}
			_, _, _, _ = d.FirstAtOrAfter(batch.Bytes, 0, now)
		}
	})
}
