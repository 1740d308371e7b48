package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// next lists the n times that follow on from, as clocks of the zone show them.
func next(t *testing.T, expression, zone, from string, n int) (due []string) {
	t.Helper()
	c, err := ParseCron(expression, zone)
	require.NoError(t, err)
	at, err := time.Parse(time.RFC3339, from)
	require.NoError(t, err)
	for range n {
		at = c.Next(at)
		due = append(due, at.Format("01-02T15:04-0700"))
	}
	return due
}

func TestCronWhereTheClocksChange(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		what, cron, zone, from string
		due                    []string
	}{
		{
			"a usual day", "30 3 * * *", "Europe/Berlin", "2026-06-01T00:00:00+02:00",
			[]string{"06-01T03:30+0200", "06-02T03:30+0200"},
		},
		{
			"a time that does not exist is due at the change", "30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00+01:00",
			[]string{"03-28T02:30+0100", "03-29T03:00+0200", "03-30T02:30+0200"},
		},
		{
			"several times that do not exist are due once", "*/20 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00",
			[]string{"03-29T03:00+0200", "03-29T03:20+0200", "03-29T03:40+0200", "03-30T02:00+0200"},
		},
		{
			"a time that comes twice is due the first time", "30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00+02:00",
			[]string{"10-25T02:30+0200", "10-26T02:30+0100"},
		},
		{
			"also when it is asked for in the second hour", "30 2 * * *", "Europe/Berlin", "2026-10-25T02:10:00+01:00",
			[]string{"10-26T02:30+0100"},
		},
		{
			"every hour skips the one that does not exist", "0 * * * *", "America/New_York", "2026-03-08T00:30:00-05:00",
			[]string{"03-08T01:00-0500", "03-08T03:00-0400", "03-08T04:00-0400"},
		},
		{
			"every hour is due in both of the same name", "0 * * * *", "America/New_York", "2026-11-01T00:30:00-04:00",
			[]string{"11-01T01:00-0400", "11-01T01:00-0500", "11-01T02:00-0500"},
		},
		{
			"so is every half an hour", "*/30 * * * *", "America/New_York", "2026-11-01T00:40:00-04:00",
			[]string{"11-01T01:00-0400", "11-01T01:30-0400", "11-01T01:00-0500", "11-01T01:30-0500", "11-01T02:00-0500"},
		},
		{
			"a midnight that does not exist", "0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00-03:00",
			[]string{"11-04T01:00-0200", "11-05T00:00-0200"},
		},
		{
			"a change of half an hour", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00+10:30",
			[]string{"10-04T02:30+1100", "10-05T02:15+1100"},
		},
		{
			"a day that does not exist", "0 12 30 12 *", "Pacific/Apia", "2011-12-29T00:00:00-10:00",
			[]string{"12-31T00:00+1400", "12-30T12:00+1400"},
		},
		{
			"a name", "@monthly", "UTC", "2026-01-31T00:00:00Z",
			[]string{"02-01T00:00+0000", "03-01T00:00+0000"},
		},
	} {
		require.Equal(t, row.due, next(t, row.cron, row.zone, row.from, len(row.due)), row.what)
	}
}

func TestCronRefusesWhatItCannotKeep(t *testing.T) {
	t.Parallel()
	for expression, says := range map[string]string{
		"": "empty", "* * * *": "5 fields", "* * * * * *": "5 fields", "61 * * * *": "above maximum", "0 0 31 2 *": "never due",
		"@every 1h": "*/15", "TZ=UTC 0 0 * * *": "beside it", "CRON_TZ=x": "beside it", "@reboot": "unrecognized", ", * * * *": "never due",
	} {
		_, err := ParseCron(expression, "")
		require.ErrorContains(t, err, says, expression)
	}
	_, err := ParseCron("0 0 * * *", "Mars/Olympus")
	require.ErrorContains(t, err, "Mars/Olympus")
	_, err = ParseCron("0 0 * * *", "Local")
	require.ErrorContains(t, err, "name it")
	require.True(t, Cron{}.Next(time.Now()).IsZero())
}

// TestCronIsDueOncePerTimeOfDay compares with a walk over every minute of a year: a daily time is due once a day, whatever
// the clocks do.
func TestCronIsDueOncePerTimeOfDay(t *testing.T) {
	t.Parallel()
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu", "America/Santiago"}
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		hour, minute := rapid.IntRange(0, 23).Draw(t, "hour"), rapid.IntRange(0, 59).Draw(t, "minute")
		c, err := ParseCron(fmt.Sprintf("%d %d * * *", minute, hour), zone)
		require.NoError(t, err)
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, c.zone).Add(-time.Second)
		days := map[string]bool{}
		for range 365 {
			last := at
			at = c.Next(at)
			require.True(t, at.After(last))
			day := at.Format(time.DateOnly)
			require.False(t, days[day], "twice on %s", day)
			days[day] = true
			wall := at.Format("15:04")
			if wall == fmt.Sprintf("%02d:%02d", hour, minute) {
				before := at.Add(-time.Hour)
				require.NotEqual(t, wall, before.Format("15:04"), "the first of two")
				continue
			}
			start, _ := at.ZoneBounds()
			require.True(t, at.Equal(start), "%s is no change of the clocks", at)
		}
		require.Len(t, days, 365)
		require.True(t, strings.HasPrefix(at.Format(time.DateOnly), "2026-12-31"))
	})
}
