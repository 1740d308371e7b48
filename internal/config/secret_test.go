package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	yaml "go.yaml.in/yaml/v3"

	"github.com/offline-nodes/offline-nodes/internal/config"
)

const planted = "hunter2"

// secrets sets every secret there is to a text that has the planted one in it.
func secrets() []string {
	return []string{
		"OFFLINE_KAFKA__SASL__MECHANISM=SCRAM-SHA-512", "OFFLINE_KAFKA__SASL__USERNAME=kafka-user",
		"OFFLINE_KAFKA__SASL__PASSWORD=" + planted,
		"OFFLINE_REDIS__MASTER_NAME=m", "OFFLINE_REDIS__PASSWORD=" + planted, "OFFLINE_REDIS__SENTINEL_PASSWORD=" + planted,
		"OFFLINE_STORE__URL=s3://bucket?region=x", "OFFLINE_STORE__ACCESS_KEY=key",
		"OFFLINE_STORE__SECRET_KEY=" + planted, "OFFLINE_STORE__SESSION_TOKEN=" + planted,
		"OFFLINE_REPOSITORY__URL=s3://other?region=x", "OFFLINE_REPOSITORY__ACCESS_KEY=key",
		"OFFLINE_REPOSITORY__SECRET_KEY=" + planted, "OFFLINE_REPOSITORY__SESSION_TOKEN=" + planted,
	}
}

func TestEverySecretIsInThisTest(t *testing.T) {
	settings := load(t, config.Sources{Environ: secrets()})
	for _, key := range config.SecretKeys() {
		require.True(t, settings.SetBySource(key), "plant %s too", key)
	}
	require.Equal(t, planted, settings.Kafka.SASL.Password.Reveal())
}

// everyWay prints v in all ways that a log or a debug page may print it.
func everyWay(t testing.TB, v any) string {
	t.Helper()
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+"\n", v)
	}
	fmt.Fprintln(&out, v)
	j, err := json.Marshal(v)
	require.NoError(t, err)
	y, err := yaml.Marshal(v)
	require.NoError(t, err)
	out.Write(j)
	out.Write(y)
	for _, handler := range []slog.Handler{
		slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil),
	} {
		slog.New(handler).Info("settings", "value", v, slog.Group("g", "v", v))
	}
	return out.String()
}

// leaks finds the secret as it is and as hexadecimal.
func leaks(text string) bool {
	return bytes.Contains([]byte(text), []byte(planted)) ||
		bytes.Contains([]byte(text), fmt.Appendf(nil, "%x", planted)) ||
		bytes.Contains([]byte(text), fmt.Appendf(nil, "%X", planted))
}

func TestNoOutputShowsASecret(t *testing.T) {
	settings := load(t, config.Sources{Environ: secrets(), Flags: flags(t)})
	dumped := dump(t, settings)
	require.Contains(t, dumped, "password: '***' # OFFLINE_KAFKA__SASL__PASSWORD")
	require.Contains(t, dumped, "kafka-user")

	kafka, err := settings.Kafka.Config()
	require.NoError(t, err)
	redis, err := settings.Redis.Config()
	require.NoError(t, err)
	store, err := settings.Store.Config()
	require.NoError(t, err)
	require.Equal(t, planted, kafka.SASL.Password)
	require.Equal(t, planted, redis.SentinelPassword)
	require.Equal(t, planted, string(store.SecretKey))

	outputs := map[string]string{
		"dump":             dumped,
		"settings":         everyWay(t, *settings),
		"settings pointer": everyWay(t, settings),
		"section":          everyWay(t, settings.Redis),
		"a secret":         everyWay(t, settings.Redis.Password),
		"kafka":            fmt.Sprintf("%v %+v %#v", kafka, kafka, kafka),
		"redis":            fmt.Sprintf("%v %+v %#v", redis, redis, redis),
		"store":            fmt.Sprintf("%v %+v %#v", store, store, store),
		"usage":            flags(t).FlagUsages(),
	}
	for name, output := range outputs {
		require.NotEmpty(t, output)
		require.False(t, leaks(output), "%s shows the secret:\n%s", name, output)
	}
}

func TestNoErrorShowsASecret(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for name, from := range map[string]config.Sources{
		"a misspelled key":       {File: file(t, "kafka: {sasl: {pasword: hunter2}}")},
		"a misspelled variable":  {Environ: []string{"OFFLINE_KAFKA__SASL_PASSWORD=hunter2"}},
		"unquoted digits":        {File: file(t, "redis: {password: 1234567}")},
		"a list":                 {File: file(t, "redis: {password: [hunter2]}")},
		"a section":              {File: file(t, "redis: {password: {a: hunter2}}")},
		"no mechanism":           {Environ: []string{"OFFLINE_KAFKA__SASL__PASSWORD=hunter2"}},
		"both":                   {Environ: []string{"OFFLINE_REDIS__PASSWORD=hunter2", "OFFLINE_REDIS__PASSWORD_FILE=" + missing}},
		"a secret for a section": {File: file(t, "redis: hunter2")},
		"a secret for a file":    {File: file(t, "hunter2")},
		"broken YAML":            {File: file(t, "redis:\n  password: 'hunter2\n")},
		"a key twice":            {File: file(t, "redis:\n  password: hunter2\n  password: hunter2\n")},
		"a URL as address":       {Environ: []string{"OFFLINE_REDIS__ADDRS=redis://:hunter2@host:6379"}},
		"a login as address":     {Environ: []string{"OFFLINE_KAFKA__BROKERS=a:1,user:hunter2@host:port"}},
		"a list of addresses":    {File: file(t, "redis: {addrs: ['redis://u:hunter2@host:6379', 'x:1']}")},
		"a login in the store":   {Environ: []string{"OFFLINE_STORE__URL=s3://key:hunter2@bucket"}},
		"a login in an endpoint": {Environ: []string{"OFFLINE_TELEMETRY__OTLP_ENDPOINT=http://u:hunter2@host"}},
		"a password with @ / ,":  {Environ: []string{"OFFLINE_TELEMETRY__OTLP_ENDPOINT=http://u:hunter2@x/y,hunter2@host"}},
		"an unreadable URL":      {Environ: []string{"OFFLINE_STORE__URL=s3://key:hunter2@%zz"}},
		"a login in a number":    {File: file(t, "kafka: {window: {records: 'redis://u:hunter2@h'}}")},
	} {
		t.Run(name, func(t *testing.T) {
			err := refused(t, from)
			require.False(t, leaks(err.Error()), err.Error())
			require.NotContains(t, err.Error(), "1234567")
			require.False(t, leaks(fmt.Sprintf("%+v %#v", err, err.Problems)))
		})
	}
}

func TestSecretsFromFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(path, []byte(planted+" \r\n"), 0o600))
	settings := load(t, config.Sources{Environ: []string{"OFFLINE_REDIS__PASSWORD_FILE=" + path}})
	require.Equal(t, planted+" ", settings.Redis.Password.Reveal(), "only the end of the line is cut")
	require.False(t, leaks(dump(t, settings)))

	for content, want := range map[string]string{"": "is empty", "\n": "is empty", "a\nb\n": "more than one line"} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		require.ErrorContains(t, refused(t, config.Sources{Environ: []string{"OFFLINE_REDIS__PASSWORD_FILE=" + path}}), want)
	}
}

func TestAnEmptySecretShowsAsNothing(t *testing.T) {
	require.Empty(t, config.Secret("").String())
	require.Equal(t, "***", fmt.Sprint(config.Secret("x")))
	require.Equal(t, `"***"`, fmt.Sprintf("%q", config.Secret("x")))
	require.Equal(t, `config.Secret("***")`, fmt.Sprintf("%#v", config.Secret("x")))
}

func TestNoFlagTakesASecret(t *testing.T) {
	for _, key := range config.SecretKeys() {
		require.Nil(t, flags(t).Lookup(key), "command lines can be read by others")
	}
}

func TestStoreNeedsAURL(t *testing.T) {
	_, err := config.Defaults().Store.Config()
	require.ErrorIs(t, err, config.ErrNoStore)
}
