package differ

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var tagsType = reflect.TypeFor[kmsg.Tags]()

// fill sets the fields of a kmsg structure from a literal; env expands variables.
func fill(v reflect.Value, lit any, env *env) error {
	if s, ok := lit.(string); ok {
		expanded, err := env.expand(s)
		if err != nil {
			return err
		}
		lit = expanded
	}
	if v.Type() == tagsType {
		t := new(kmsg.Tags)
		err := fillTags(t, lit)
		v.Set(reflect.ValueOf(t).Elem())
		return err
	}
	switch v.Kind() {
	case reflect.Struct:
		o, ok := lit.(object)
		if !ok {
			return fmt.Errorf("%s wants a structure, not %v", v.Type(), lit)
		}
		for _, m := range o {
			f := v.FieldByName(m.name)
			if !f.IsValid() {
				return fmt.Errorf("%s has no field %s", v.Type(), m.name)
			}
			if err := fill(f, m.value, env); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
		}
		return nil
	case reflect.Pointer:
		if lit == nil {
			v.SetZero()
			return nil
		}
		v.Set(newOf(v.Type().Elem()))
		return fill(v.Elem(), lit, env)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return fillBytes(v, lit)
		}
		return fillSlice(v, lit, env)
	case reflect.Array:
		return fillID(v, lit)
	}
	return fillScalar(v, lit)
}

// newOf is a pointer to a new value with Kafka's defaults.
func newOf(t reflect.Type) reflect.Value {
	p := reflect.New(t)
	if d, ok := reflect.TypeAssert[interface{ Default() }](p); ok {
		d.Default()
	}
	return p
}

func fillSlice(v reflect.Value, lit any, env *env) error {
	if lit == nil {
		v.SetZero()
		return nil
	}
	a, ok := lit.([]any)
	if !ok {
		return fmt.Errorf("%s wants an array, not %v", v.Type(), lit)
	}
	s := reflect.MakeSlice(v.Type(), 0, len(a))
	for _, e := range a {
		p := newOf(v.Type().Elem())
		if err := fill(p.Elem(), e, env); err != nil {
			return err
		}
		s = reflect.Append(s, p.Elem())
	}
	v.Set(s)
	return nil
}

func fillBytes(v reflect.Value, lit any) error {
	switch b := lit.(type) {
	case nil:
		v.SetZero()
	case []byte:
		v.SetBytes(b)
	case string:
		raw, err := bytesOf(b)
		if err != nil {
			return err
		}
		v.SetBytes(raw)
	default:
		return fmt.Errorf("%v are no bytes", lit)
	}
	return nil
}

// bytesOf is text as bytes, or what follows hex:.
func bytesOf(s string) ([]byte, error) {
	if h, ok := strings.CutPrefix(s, "hex:"); ok {
		return hex.DecodeString(h)
	}
	return []byte(s), nil
}

func fillID(v reflect.Value, lit any) error {
	s, ok := lit.(string)
	id, err := base64.RawURLEncoding.DecodeString(s)
	if !ok || err != nil || len(id) != v.Len() {
		return fmt.Errorf("%v is no id", lit)
	}
	reflect.Copy(v, reflect.ValueOf(id))
	return nil
}

func fillScalar(v reflect.Value, lit any) error {
	switch n := lit.(type) {
	case string:
		if v.Kind() == reflect.String {
			v.SetString(n)
			return nil
		}
	case bool:
		if v.Kind() == reflect.Bool {
			v.SetBool(n)
			return nil
		}
		lit = strconv.FormatBool(n)
	case int64:
		if v.CanInt() && !v.OverflowInt(n) {
			v.SetInt(n)
			return nil
		}
		if v.CanFloat() {
			v.SetFloat(float64(n))
			return nil
		}
		lit = strconv.FormatInt(n, 10)
	}
	if s, ok := lit.(string); ok && v.Kind() == reflect.String {
		v.SetString(s)
		return nil
	}
	return fmt.Errorf("%v is no %s", lit, v.Type())
}

func fillTags(t *kmsg.Tags, lit any) error {
	o, ok := lit.(object)
	if !ok {
		return fmt.Errorf("tags are {number: bytes}, not %v", lit)
	}
	for _, m := range o {
		n, err := strconv.ParseUint(m.name, 10, 32)
		if err != nil {
			return err
		}
		s, _ := m.value.(string)
		b, err := bytesOf(s)
		if err != nil {
			return err
		}
		t.Set(uint32(n), b)
	}
	return nil
}

// treeOf is a kmsg structure as a tree. Errors have their names, ids are base64,
// record batches are opened.
func treeOf(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == tagsType {
			return tagsTree(v)
		}
		return structTree(v)
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return treeOf(v.Elem())
	case reflect.Slice:
		if v.IsNil() {
			return nil
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return bytesText(v.Bytes())
		}
		all := make([]any, v.Len())
		for i := range all {
			all[i] = treeOf(v.Index(i))
		}
		return all
	case reflect.Array:
		var id [16]byte
		reflect.Copy(reflect.ValueOf(&id).Elem(), v)
		return base64.RawURLEncoding.EncodeToString(id[:])
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return v.Bool()
	case reflect.Float64:
		return v.Float()
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int()
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return int64(v.Uint())
	}
	panic("BUG: kmsg has no " + v.Kind().String())
}

func structTree(v reflect.Value) object {
	defaults := newOf(v.Type()).Elem()
	var o object
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() || f.Name == "Version" && i == 0 {
			continue
		}
		m := member{name: f.Name, value: treeOf(v.Field(i))}
		m.byDefault = reflect.DeepEqual(v.Field(i).Interface(), defaults.Field(i).Interface())
		m.byDefault = m.byDefault && (f.Name == "TopicID" || !slices.Contains(identities, f.Name))
		switch {
		case f.Name == "ErrorCode" || strings.HasSuffix(f.Name, "ErrorCode"):
			m.value, m.byDefault = errorName(int16(v.Field(i).Int())), f.Name != "ErrorCode" && m.byDefault
		case f.Name == "RecordBatches" || f.Name == "Records" && f.Type.Elem().Kind() == reflect.Uint8:
			if !v.Field(i).IsNil() {
				m.value = batchesTree(v.Field(i).Bytes())
			}
		}
		o = append(o, m)
	}
	return o
}

func tagsTree(v reflect.Value) any {
	t := new(kmsg.Tags)
	reflect.ValueOf(t).Elem().Set(v)
	o := object{}
	t.Each(func(n uint32, b []byte) {
		o = append(o, member{name: strconv.Itoa(int(n)), value: "hex:" + hex.EncodeToString(b)})
	})
	return o
}

func errorName(code int16) string {
	if code == 0 {
		return "NONE"
	}
	if e := kerr.TypedErrorForCode(code); e != nil {
		return e.Message
	}
	return strconv.Itoa(int(code))
}

// bytesText is b as text where it is such, as hex otherwise.
func bytesText(b []byte) string {
	for _, r := range string(b) {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return "hex:" + hex.EncodeToString(b)
		}
	}
	return string(b)
}
