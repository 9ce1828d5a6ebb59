package store

import (
	"fmt"
	"strings"
)

// nameMax bounds the length of an object's name in bytes. S3 allows 1,024 in
// all; the rest is for the prefix of the bucket.
const nameMax = 512

// CheckName reports what is wrong with an object's name, nil if nothing is. The
// drivers refuse bad names; a name that passes is a valid key of every object
// store and a valid path of every file system.
func CheckName(name string) error {
	if name == "" || len(name) > nameMax {
		return fmt.Errorf("object name of %d bytes: need 1 to %d", len(name), nameMax)
	}
	start := 0
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			if !nameByte(name[i]) {
				return fmt.Errorf("object name %q: only letters, digits and . _ - = / are allowed", name)
			}
			continue
		}
		if s := name[start:i]; s == "" || s == "." || s == ".." {
			return fmt.Errorf("object name %q has an empty or dot segment", name)
		}
		start = i + 1
	}
	return nil
}

// PossiblePrefix says whether some name starts with the prefix. A driver lists
// nothing for others, at which a server may complain.
func PossiblePrefix(prefix string) bool {
	return CheckName(prefix+"x") == nil || CheckName(prefix) == nil
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || strings.IndexByte("._-=", c) >= 0
}

// DeleteMax is the largest number of names in one Delete, S3's limit.
const DeleteMax = 1000

// CheckDelete reports what is wrong with the names of one Delete.
func CheckDelete(names []string) error {
	if len(names) > DeleteMax {
		return fmt.Errorf("delete of %d objects: at most %d at once", len(names), DeleteMax)
	}
	for _, n := range names {
		if err := CheckName(n); err != nil {
			return err
		}
	}
	return nil
}
