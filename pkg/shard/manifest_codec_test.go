package shard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func anyManifest(t *rapid.T) Manifest {
	m := Manifest{
		Shard: "books/0", Generation: rapid.Uint64Range(1, 1<<62).Draw(t, "generation"), AppliedFor: time.Hour,
		Mapping: json.RawMessage(`{"default_mapping":{"enabled":true}}`), Nonce: "nonce",
		Writer: Writer{Node: rapid.String().Draw(t, "node"), At: time.Unix(1_700_000_000, 5).UTC()},
	}
	m.Segments = rapid.SliceOfN(rapid.Custom(anySegment), 0, 5).Draw(t, "segments")
	for i := range m.Segments {
		m.Segments[i].ID = uint64(i + 3)
	}
	m.NextSegment = uint64(len(m.Segments) + 3)
	m.Applied = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Applied {
		return Applied{Task: rapid.String().Draw(t, "task"), AllocationID: rapid.Int64().Draw(t, "allocation")}
	}), 0, 3).Draw(t, "applied")
	return m
}

func TestManifestComesBackAsItWas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := anyManifest(t)
		stored, err := m.Encode()
		require.NoError(t, err)
		back, err := Decode(stored)
		require.NoError(t, err)
		again, err := back.Encode()
		require.NoError(t, err)
		require.Equal(t, string(stored), string(again))
		require.Equal(t, m.Docs(), back.Docs())
		require.Equal(t, m.Writer, back.Writer)
		require.True(t, json.Valid(stored))
		require.Equal(t, 1, bytes.Count(stored, []byte("\n")))
	})
}

func storedManifest(t testing.TB) []byte {
	t.Helper()
	w := newWorld()
	w.write(t, []string{"a", "b", "c"}, nil)
	w.write(t, []string{"d"}, []string{"b"})
	w.begin(w.manifest.Segments[:1])
	require.NoError(t, w.commit(w.merges[0]))
	stored, err := w.manifest.Encode()
	require.NoError(t, err)
	return stored
}

func TestManifestThatIsNotWhatWasWrittenIsRefused(t *testing.T) {
	t.Parallel()
	stored := storedManifest(t)

	t.Run("cut anywhere", func(t *testing.T) {
		for n := range len(stored) {
			_, err := Decode(stored[:n])
			require.ErrorIs(t, err, ErrCorrupt, "cut to %d bytes", n)
		}
	})
	t.Run("one bit changed anywhere", func(t *testing.T) {
		for i := range stored {
			for bit := range 8 {
				changed := bytes.Clone(stored)
				changed[i] ^= 1 << bit
				_, err := Decode(changed)
				require.Error(t, err, "bit %d of byte %d", bit, i)
			}
		}
	})
	t.Run("something after its end", func(t *testing.T) {
		_, err := Decode(append(bytes.Clone(stored), "{}"...))
		require.ErrorIs(t, err, ErrCorrupt)
	})
	t.Run("of a newer format", func(t *testing.T) {
		newer := bytes.Replace(stored, []byte(`"format":1`), []byte(`"format":2,"new":{}`), 1)
		_, err := Decode(newer)
		require.ErrorIs(t, err, ErrFormat)
		require.ErrorContains(t, err, "upgrade")
		_, err = Decode([]byte(`{"format":7}`))
		require.ErrorIs(t, err, ErrFormat, "whatever a newer format looks like otherwise")
	})
	for name, body := range map[string]string{
		"nothing":    "",
		"no object":  "null",
		"a page":     "<html>Service Unavailable</html>",
		"no format":  sealed(`{"shard":"s"}`),
		"old format": sealed(`{"format":0}`),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode([]byte(body))
			require.ErrorIs(t, err, ErrCorrupt)
		})
	}
}

// sealed gives an object a right checksum, as a faulty writer would.
func sealed(object string) string {
	open := strings.TrimSuffix(object, "}")
	return fmt.Sprintf("%s%s%s\"}\n", open, checksumField, checksum([]byte(open)))
}

func TestManifestOfAFaultyWriterIsRefused(t *testing.T) {
	t.Parallel()
	stored := string(storedManifest(t))
	object := stored[:strings.LastIndex(stored, checksumField)] + "}"
	require.Equal(t, stored, sealed(object))

	for name, c := range map[string]struct{ old, replacement, says string }{
		"an unknown field":        {`"format":1`, `"format":1,"extra":1`, "extra"},
		"a wrong type":            {`"generation":4`, `"generation":"4"`, "generation"},
		"no generation":           {`"generation":4`, `"generation":0`, "generation is 0"},
		"a blob outside":          {`"blob":"0000`, `"blob":"../../../etc/0000`, "blob name"},
		"live that does not add":  {`"live":2`, `"live":3`, "live is 3"},
		"a negative size":         {`"bytes":1`, `"bytes":-1`, "size is -1"},
		"an unsorted list":        {`"id":3`, `"id":1`, "comes after"},
		"an ID that is next":      {`"next_segment":4`, `"next_segment":3`, "not below next_segment"},
		"a bad duration":          {`"applied_for":"1h0m0s"`, `"applied_for":"soon"`, "soon"},
		"no time for the applied": {`"applied_for":"1h0m0s"`, `"applied_for":"0s"`, "forgotten at once"},
		"a name inside of shards": {`"shard":"s"`, `"shard":"s/blob"`, "name inside of shards"},
		"no nonce":                {`"nonce":"n"`, `"nonce":""`, "nonce is missing"},
		"something after its end": {`{"format"`, `{} {"format"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, object, c.old)
			_, err := Decode([]byte(sealed(strings.Replace(object, c.old, c.replacement, 1))))
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestDocSetRefusesWhatIsNoBitmap(t *testing.T) {
	t.Parallel()
	var s DocSet
	require.NoError(t, s.UnmarshalText(nil))
	require.True(t, s.IsZero())
	whole, err := NewDocSet(1, 2, 3, 70_000, 80_000).MarshalText()
	require.NoError(t, err)
	require.NoError(t, s.UnmarshalText(whole))
	require.EqualValues(t, 5, s.Count())
	for _, text := range []string{"%", "AAAA", string(whole[:len(whole)-8]), string(whole) + "AAAA", "OjAAAAEAAAAAAP//"} {
		require.Error(t, s.UnmarshalText([]byte(text)), text)
	}
}

// FuzzDecode feeds anything that may lie where a manifest should: it is one that may be, and the same when it is
// written again, or it is refused.
func FuzzDecode(f *testing.F) {
	f.Add(storedManifest(f))
	f.Add([]byte(sealed(`{"format":1,"segments":[{"deleted":"OjAAAAEAAAAAAP//"}]}`)))
	decode := func(t *testing.T, stored []byte) {
		t.Helper()
		m, err := Decode(stored)
		if err != nil {
			require.True(t, errors.Is(err, ErrCorrupt) || errors.Is(err, ErrFormat), "unexplained: %v", err)
			return
		}
		require.NoError(t, m.Validate())
		again, err := m.Encode()
		require.NoError(t, err)
		twice, err := Decode(again)
		require.NoError(t, err, "%s", again)
		require.Equal(t, m.Docs(), twice.Docs())
		same, err := twice.Encode()
		require.NoError(t, err)
		require.Equal(t, string(again), string(same))
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		decode(t, stored)
		if open := bytes.TrimSuffix(stored, []byte("}")); len(open) < len(stored) { // let the fuzzer past the checksum
			decode(t, []byte(sealed(string(stored))))
		}
	})
}
