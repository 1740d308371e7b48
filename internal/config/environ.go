package config

import (
	"regexp"
	"slices"
	"strings"
)

const (
	prefix     = "OFFLINE_"
	fileEnv    = "OFFLINE_CONFIG" // path of the settings file
	testPrefix = "OFFLINE_TEST_"  // belongs to the tests: where their servers are
)

// serviceLink is what Kubernetes sets in every pod for a service: one named
// offline-node brings OFFLINE_NODE_PORT and its like.
var serviceLink = regexp.MustCompile(`^[A-Z0-9]+(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// reserved tells whether a variable with our prefix is none of our settings.
func reserved(name string) bool {
	if name == fileEnv || strings.HasPrefix(name, testPrefix) {
		return true
	}
	return serviceLink.MatchString(name) && !strings.Contains(name, "__")
}

// variablePath is the key that an environment variable sets.
func variablePath(name string) []string {
	return strings.Split(strings.ToLower(strings.TrimPrefix(name, prefix)), "__")
}

// Variable is the environment variable that sets a key: OFFLINE_REDIS__LEASE for redis.lease.
func Variable(key string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(key, ".", "__"))
}

// path is where the settings file is, or "".
func (s Sources) path() string {
	if s.File != "" {
		return s.File
	}
	if s.Flags != nil {
		if f := s.Flags.Lookup(fileFlag); f != nil && f.Changed {
			return f.Value.String()
		}
	}
	i := slices.IndexFunc(s.Environ, func(v string) bool { return strings.HasPrefix(v, fileEnv+"=") })
	if i < 0 {
		return ""
	}
	return strings.TrimPrefix(s.Environ[i], fileEnv+"=")
}
