package remotestore

import (
	"fmt"
	"strings"
)

const maxKeyBytes = 1000 // S3 takes 1,024 with the bucket prefix

const maxKeyPartBytes = 200

// CheckKey returns ErrKey with its reason for a key that no backend takes.
func CheckKey(key string) error {
	if key == "" || len(key) > maxKeyBytes {
		return fmt.Errorf("%w %q: it has %d bytes, allowed are 1 to %d", ErrKey, shorten(key), len(key), maxKeyBytes)
	}
	for part := range strings.SplitSeq(key, "/") {
		switch {
		case part == "":
			return fmt.Errorf("%w %q: it has an empty part", ErrKey, key)
		case part[0] == '.':
			return fmt.Errorf("%w %q: a part starts with a dot", ErrKey, key)
		case len(part) > maxKeyPartBytes:
			return fmt.Errorf("%w %q: a part has %d bytes, allowed are %d", ErrKey, shorten(key), len(part), maxKeyPartBytes)
		}
	}
	return checkBytes(key)
}

// checkPrefix checks what List is asked for: the start of a key, which may end anywhere.
func checkPrefix(prefix string) error {
	if strings.HasPrefix(prefix, "/") || strings.Contains(prefix, "//") || strings.Contains("/"+prefix, "/.") {
		return fmt.Errorf("%w prefix %q: no key starts like this", ErrKey, prefix)
	}
	return checkBytes(prefix)
}

func checkBytes(key string) error {
	for i := range len(key) {
		if c := key[i]; c <= ' ' || c > '~' || c == '\\' {
			return fmt.Errorf("%w %q: byte %#x at %d is not allowed", ErrKey, shorten(key), c, i)
		}
	}
	return nil
}

func shorten(key string) string {
	if len(key) > 80 {
		return key[:80] + "…"
	}
	return key
}
