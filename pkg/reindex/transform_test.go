package reindex_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/reindex"
)

func transform(t testing.TB, steps string) (tr reindex.Transform) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(steps), &tr))
	return tr
}

func TestTransform(t *testing.T) {
	const doc = `{"title":"A & B","n":12345678901234567890.10,"by":{"name":"Ann","age":null},"tags":[{"a":1}]}`
	for name, test := range map[string]struct{ steps, want string }{
		"nothing":          {`[]`, doc},
		"rename":           {`[{"op":"rename","field":"title","to":"name"}]`, `{"name":"A & B","n":12345678901234567890.10,"by":{"name":"Ann","age":null},"tags":[{"a":1}]}`},
		"rename into":      {`[{"op":"rename","field":"title","to":"by.title"},{"op":"remove","field":"tags"},{"op":"remove","field":"n"}]`, `{"by":{"name":"Ann","age":null,"title":"A & B"}}`},
		"copies are apart": {`[{"op":"copy","field":"by","to":"to"},{"op":"set","field":"by.name","value":"Bob"},{"op":"copy","field":"tags","to":"labels"}]`, `{"title":"A & B","n":12345678901234567890.10,"by":{"name":"Bob","age":null},"to":{"name":"Ann","age":null},"tags":[{"a":1}],"labels":[{"a":1}]}`},
		"set makes way":    {`[{"op":"set","field":"x.y.z","value":[1]}]`, `{"title":"A & B","n":12345678901234567890.10,"by":{"name":"Ann","age":null},"tags":[{"a":1}],"x":{"y":{"z":[1]}}}`},
		"defaults":         {`[{"op":"default","field":"by.age","value":7},{"op":"default","field":"by.name","value":"-"},{"op":"default","field":"new","value":null}]`, `{"title":"A & B","n":12345678901234567890.10,"by":{"name":"Ann","age":7},"tags":[{"a":1}],"new":null}`},
		"not there":        {`[{"op":"rename","field":"none","to":"x"},{"op":"copy","field":"by.none","to":"x"},{"op":"remove","field":"title.none"},{"op":"remove","field":"none.at.all"},{"op":"remove","field":"tags.a"}]`, doc},
	} {
		tr := transform(t, test.steps)
		require.NoError(t, tr.Validate(), name)
		out, err := tr.Apply([]byte(doc))
		require.NoError(t, err, name)
		require.JSONEq(t, test.want, string(out), name)
		require.Contains(t, test.want+string(out), "A & B", name)
		if name != "rename into" {
			require.Contains(t, string(out), "12345678901234567890.10", "%s: numbers stay as they are written", name)
		}
	}
	out, err := transform(t, `[]`).Apply([]byte(" {\"b\":1,\n\"a\":2} "))
	require.NoError(t, err)
	require.Equal(t, " {\"b\":1,\n\"a\":2} ", string(out), "byte for byte")

	_, err = transform(t, `[{"op":"set","field":"title.x","value":1}]`).Apply([]byte(doc))
	require.ErrorContains(t, err, `"title" is no object`)
	for _, bad := range []string{`[]`, `null`, `{`, `7`} {
		_, err = transform(t, `[{"op":"remove","field":"x"}]`).Apply([]byte(bad))
		require.Error(t, err, bad)
	}
}

func TestTransformsThatMakeNoSense(t *testing.T) {
	for _, steps := range []string{
		`[{"op":"eval","field":"a"}]`, `[{"op":"remove"}]`, `[{"op":"remove","field":"a..b"}]`, `[{"op":"remove","field":"_source"}]`,
		`[{"op":"remove","field":"a","to":"b"}]`, `[{"op":"remove","field":"a","value":1}]`, `[{"op":"set","field":"a"}]`,
		`[{"op":"set","field":"_id","value":1}]`, `[{"op":"rename","field":"a"}]`, `[{"op":"rename","field":"a","to":"_id"}]`,
		`[{"op":"rename","field":"a","to":"a.b"}]`, `[{"op":"copy","field":"a.b","to":"a"}]`, `[{"op":"copy","field":"a","to":"b","value":1}]`,
	} {
		require.Error(t, transform(t, steps).Validate(), steps)
	}
}

// FuzzTransform looks for documents that make a transform crash or leave no object.
func FuzzTransform(f *testing.F) {
	f.Add(`{"a":{"b":1},"c":[1,{"d":null}]}`)
	f.Add(`{"a":1}`)
	f.Add(`null`)
	tr := transform(f, `[{"op":"copy","field":"a","to":"x.y"},{"op":"rename","field":"a.b","to":"c"},{"op":"default","field":"x.z","value":{}},{"op":"remove","field":"c"}]`)
	require.NoError(f, tr.Validate())
	f.Fuzz(func(t *testing.T, doc string) {
		out, err := tr.Apply([]byte(doc))
		if err != nil {
			return
		}
		var is map[string]any
		require.NoError(t, json.Unmarshal(out, &is), "%s became %s", doc, out)
		require.NotContains(t, is, "c")
	})
}
