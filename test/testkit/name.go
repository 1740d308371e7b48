package testkit

import (
	"crypto/rand"
	"strings"
	"testing"
)

const maxNameBytes = 48

// Name returns a prefix for topics, groups and keys that no other test uses, nor another run of this one: the test's name
// with a random part. It is a legal topic name of at most 59 characters, different with each call.
func Name(t testing.TB) string {
	t.Helper()
	name := strings.Map(legal, t.Name())
	if len(name) > maxNameBytes {
		name = name[:maxNameBytes]
	}
	return name + "-" + strings.ToLower(rand.Text()[:10])
}

// legal keeps what topics, Redis keys, and buckets in lower case have in common.
func legal(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return r
	default:
		return '-'
	}
}
