package schedule

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func parse(t require.TestingT, value string) Definition {
	d, err := Parse([]byte(value))
	require.NoError(t, err)
	return d
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	moment, err := time.Parse(time.DateTime, "2026-06-01 "+text)
	require.NoError(t, err)
	return moment
}

func clock(runs []time.Time) (texts []string) {
	for _, r := range runs {
		texts = append(texts, r.UTC().Format("15:04"))
	}
	return texts
}

func TestWhatIsDue(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		what, definition, last, now string
		runs                        []string
		missed                      bool
	}{
		{"nothing yet", `{"cron":"0 * * * *","type":"x"}`, "10:00:00", "10:59:59", nil, false},
		{"one in time", `{"cron":"0 * * * *","type":"x"}`, "10:00:00", "11:00:00", []string{"11:00"}, false},
		{"the last one that is in time", `{"cron":"0 * * * *","type":"x"}`, "10:00:00", "11:10:00", []string{"11:00"}, false},
		{"one that is missed", `{"cron":"0 * * * *","type":"x"}`, "10:00:00", "11:10:01", nil, true},
		{"several in time", `{"cron":"*/3 * * * *","type":"x"}`, "10:00:00", "10:10:00", []string{"10:03", "10:06", "10:09"}, false},
		{"only what is in time", `{"cron":"*/3 * * * *","type":"x"}`, "10:00:00", "10:20:00", []string{"10:12", "10:15", "10:18"}, true},
		{"later is allowed", `{"cron":"0 * * * *","type":"x","late":"3h"}`, "10:00:00", "12:30:00", []string{"11:00", "12:00"}, false},
		{"once for all", `{"cron":"0 * * * *","type":"x","missed":"once"}`, "02:00:00", "11:30:00", []string{"11:00"}, false},
		{"one in time is enough", `{"cron":"0 * * * *","type":"x","missed":"once"}`, "02:00:00", "11:05:00", []string{"11:00"}, true},
		{"once, and nothing is missed", `{"cron":"0 * * * *","type":"x","missed":"once"}`, "11:00:00", "11:59:00", nil, false},
	} {
		d := parse(t, row.definition)
		runs, missed := d.due(at(t, row.last), at(t, row.now))
		require.Equal(t, row.runs, clock(runs), row.what)
		require.Equal(t, row.missed, missed, row.what)
	}
}

func TestOnceIsFoundAfterYears(t *testing.T) {
	t.Parallel()
	d := parse(t, `{"cron":"0 3 1 1 *","type":"x","missed":"once"}`)
	runs, _ := d.due(at(t, "00:00:00").AddDate(-3, 0, 0), at(t, "00:00:00"))
	require.Len(t, runs, 1)
	require.Equal(t, time.Date(2026, 1, 1, 3, 0, 0, 0, time.UTC), runs[0].UTC())
	d = parse(t, `{"cron":"* * * * *","type":"x","missed":"once","late":"1m"}`)
	runs, _ = d.due(time.Time{}.AddDate(2000, 0, 0), at(t, "00:00:30"))
	require.Equal(t, []string{"00:00"}, clock(runs))
}

// TestTheNewestRunIsFoundBackwards compares with a walk from the start.
func TestTheNewestRunIsFoundBackwards(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := parse(t, `{"cron":"`+rapid.SampledFrom([]string{"* * * * *", "7 * * * *", "30 2 * * *", "0 0 * * 1", "0 5 1 * *"}).Draw(t, "cron")+
			`","zone":"Europe/Berlin","type":"x"}`)
		after := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 1e7).Draw(t, "after")) * time.Second)
		until := after.Add(time.Duration(rapid.IntRange(0, 5e6).Draw(t, "for")) * time.Second)
		var newest time.Time
		for at := d.Next(after); !at.After(until); at = d.Next(at) {
			newest = at
		}
		require.True(t, newest.Equal(d.newest(after, until)), "%s instead of %s", d.newest(after, until), newest)
	})
}

func TestParseReportsEveryMistake(t *testing.T) {
	t.Parallel()
	_, err := Parse([]byte(`{"cron":"x","zone":"UTC","type":"UPPER","late":"1s","missed":"twice"}`))
	for _, says := range []string{"cron expression", "UPPER", "1m0s to 24h0m0s", "twice"} {
		require.ErrorContains(t, err, says)
	}
	_, err = Parse([]byte(`{"cron":"* * * * *","type":"x","typ":"y"}`))
	require.ErrorContains(t, err, "typ")
	_, err = Parse([]byte(`{"cron":"* * * * *","type":"x"} {}`))
	require.ErrorContains(t, err, "more follows")
	_, err = Parse([]byte(`{"cron":"* * * * *","type":"x","late":"soon"}`))
	require.ErrorContains(t, err, "soon")
}

func TestADefinitionIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	d := Definition{
		Cron: "0 3 * * *", Zone: "Europe/Berlin", Type: "remote-gc", Params: []byte(`{"folder":"books/"}`),
		Missed: Once, Late: Duration(time.Hour), Since: at(t, "10:00:00"),
	}
	value, err := d.Encode()
	require.NoError(t, err)
	require.JSONEq(t, `{"cron":"0 3 * * *","zone":"Europe/Berlin","type":"remote-gc","params":{"folder":"books/"},"missed":"once",
		"late":"1h0m0s","since":"2026-06-01T10:00:00Z"}`, string(value))
	again, err := Parse(value)
	require.NoError(t, err)
	require.Equal(t, "2026-06-02T03:00:00+02:00", again.Next(again.Since).Format(time.RFC3339))
	require.Equal(t, d.Late, again.Late)
}

func TestNamesAndIDs(t *testing.T) {
	t.Parallel()
	id := TaskID("nightly-gc", time.Date(2026, 11, 22, 4, 0, 0, 0, time.FixedZone("", 3600)))
	require.Equal(t, "schedule:nightly-gc:20261122T030000Z", id, "nodes of all versions must compute the same")
	require.NoError(t, task.ValidateID(id))
	require.NoError(t, CheckName("nightly-gc"))
	for _, bad := range []string{"", "a/b", "a:b", "..", "a b", strings.Repeat("x", 101)} {
		require.Error(t, CheckName(bad), bad)
	}
	name, mark, ok := NameOf(Key("x"))
	require.Equal(t, []any{"x", false, true}, []any{name, mark, ok})
	name, mark, ok = NameOf(MarkKey("x"))
	require.Equal(t, []any{"x", true, true}, []any{name, mark, ok})
	_, _, ok = NameOf("offline.merge")
	require.False(t, ok)
}
