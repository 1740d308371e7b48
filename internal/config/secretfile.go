package config

import (
	"errors"
	"strings"
)

// secretFile is a secret that may be kept in a file of its own.
type secretFile struct {
	key    string // of the secret; the file's is key_file
	secret *Secret
	path   string
}

func (s *Settings) secretFiles() []secretFile {
	return []secretFile{
		{"kafka.sasl.password", &s.Kafka.SASL.Password, s.Kafka.SASL.PasswordFile},
		{"redis.password", &s.Redis.Password, s.Redis.PasswordFile},
		{"redis.sentinel_password", &s.Redis.SentinelPassword, s.Redis.SentinelPasswordFile},
		{"store.secret_key", &s.Store.SecretKey, s.Store.SecretKeyFile},
		{"repository.secret_key", &s.Repository.SecretKey, s.Repository.SecretKeyFile},
	}
}

// readSecrets fills the secrets that are kept in files.
func (s *Settings) readSecrets() []Problem {
	var problems []Problem
	for _, f := range s.secretFiles() {
		if f.path == "" {
			continue
		}
		key := f.key + "_file"
		if *f.secret != "" {
			problems = append(problems, s.problem(key, show(f.path), f.key+" is set too: keep one of the two"))
			continue
		}
		secret, err := readSecret(f.path)
		if err != nil {
			problems = append(problems, s.problem(key, show(f.path), err.Error()))
		}
		*f.secret = secret
	}
	return problems
}

// readSecret reads a file's one line.
func readSecret(path string) (Secret, error) {
	raw, err := readSmall(path)
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(string(raw), "\r\n")
	switch {
	case text == "":
		return "", errors.New("is empty: write the secret into it")
	case strings.ContainsAny(text, "\r\n"):
		return "", errors.New("has more than one line: write the secret alone into it")
	}
	return Secret(text), nil
}

// problem is about a key that may have been set by any source, or by none.
func (s *Settings) problem(key, value, advice string) Problem {
	return Problem{Key: key, Value: value, Source: s.origins[key], Advice: advice}
}
