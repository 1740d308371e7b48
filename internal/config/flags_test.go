package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/config"
)

func TestEverySettingButSecretsIsAFlag(t *testing.T) {
	set := flags(t)
	secret := map[string]bool{}
	for _, key := range config.SecretKeys() {
		secret[key] = true
	}
	for _, key := range config.Keys() {
		if secret[key] {
			continue
		}
		f := set.Lookup(key)
		require.NotNil(t, f, key)
		require.NotEmpty(t, f.Usage, key)
	}
}

func TestHelpShowsWhatMostPeopleNeed(t *testing.T) {
	usage := flags(t).FlagUsages()
	require.Contains(t, usage, "--kafka.brokers list")
	require.Contains(t, usage, "(default 127.0.0.1:9092)")
	require.Contains(t, usage, "debug, info, warn, error")
	require.NotContains(t, usage, "--kafka.tls.ca_file")
}

func TestVariableNames(t *testing.T) {
	require.Equal(t, "OFFLINE_REDIS__TLS__CA_FILE", config.Variable("redis.tls.ca_file"))
	for _, key := range config.Keys() {
		err := refused(t, config.Sources{Environ: []string{config.Variable(key) + "X=1"}})
		require.ErrorContains(t, err, key, "the misspelled variable leads to the key")
	}
}
