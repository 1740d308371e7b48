package remotestore

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	store, err := Open(t.Context(), Config{URL: "file://" + filepath.ToSlash(t.TempDir()) + "/new"})
	require.NoError(t, err)
	require.IsType(t, &Filesystem{}, store)
	require.NoError(t, store.(*Filesystem).Close())

	store, err = Open(t.Context(), Config{URL: "mem://"})
	require.NoError(t, err)
	require.IsType(t, &Memory{}, store)

	_, err = Open(t.Context(), Config{URL: "s3://bucket?region=eu-west-1", CAFile: filepath.Join(t.TempDir(), "none")})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestConfigReportsEveryMistake(t *testing.T) {
	t.Parallel()
	for url, says := range map[string][]string{
		"":                              {`scheme "" is not one of`},
		"relative/dir":                  {`scheme "" is not one of`},
		"file://relative/dir":           {"file:///absolute/path"},
		"file:///dir?sync=no":           {"takes no parameters"},
		"mem://name":                    {"mem://"},
		"gs://bucket":                   {`scheme "gs"`},
		"s3:///prefix":                  {"bucket is missing"},
		"s3://key:hunter2@bucket":       {"must not hold credentials"},
		"s3://b/../c?regoin=x":          {"starts with a dot", `"regoin"`},
		"s3://b?endpoint=127.0.0.1:900": {"endpoint must look like"},
		"s3://b?path_style=maybe":       {"path_style"},
		"s3://b?region=a&region=b":      {"given twice"},
		"s3://b\x7f:hunter2@":           {"cannot be read"},
	} {
		_, err := Open(t.Context(), Config{URL: url, SecretKey: "hunter2"})
		require.Error(t, err, url)
		for _, s := range says {
			require.ErrorContains(t, err, s, url)
		}
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestSecretStaysHidden(t *testing.T) {
	t.Parallel()
	c := Config{URL: "s3://bucket", AccessKey: "a", SecretKey: "hunter2", SessionToken: "hunter2"}
	asJSON, err := json.Marshal(c)
	require.NoError(t, err)
	for _, shown := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v %q", c, c, c), string(asJSON), c.SecretKey.LogValue().String()} {
		require.NotContains(t, shown, "hunter2")
	}
}

func TestCAFile(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(block), 0o600))
	c := Config{URL: "s3://bucket?endpoint=" + server.URL, AccessKey: "a", SecretKey: "b"}

	_, err := openAndGet(t, c)
	require.ErrorContains(t, err, "certificate")
	c.CAFile = ca
	_, err = openAndGet(t, c)
	require.ErrorIs(t, err, ErrNotFound, "the server was trusted and answered 404")

	require.NoError(t, os.WriteFile(ca, []byte("no certificate"), 0o600))
	_, err = Open(t.Context(), c)
	require.ErrorContains(t, err, "no certificate in PEM form")
}

func openAndGet(t *testing.T, c Config) ([]byte, error) {
	t.Helper()
	store, err := Open(t.Context(), c)
	require.NoError(t, err)
	defer store.(*S3).Close()
	return store.Get(t.Context(), "k", All)
}
