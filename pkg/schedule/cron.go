package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// everyHour is the hour field of an expression that names all hours.
const everyHour = 1<<24 - 1

var parser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// Cron is a cron expression in a time zone. The zero Cron is never due.
//
// It has five fields (minute, hour, day of month, month, day of week from 0, Sunday) or is one of @yearly, @monthly,
// @weekly, @daily and @hourly. Where the clocks change:
//
//   - A time of day that does not exist, as 2:30 when the clock goes from 2:00 to 3:00, is due at the moment of the change.
//   - A time of day that comes twice is due the first time.
//   - An expression whose hour is * follows the hours as they pass: it is due in both of two hours of the same name, and not
//     in the hour that does not exist.
type Cron struct {
	fields *cron.SpecSchedule // in the zone for every hour, else as if there were no zones
	zone   *time.Location
	hourly bool
}

// ParseCron reads an expression. zone is a name of the IANA database such as Europe/Berlin; empty means UTC.
func ParseCron(expression, zone string) (Cron, error) {
	if zone == "Local" {
		return Cron{}, errors.New("zone Local is another one on every machine: name it")
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return Cron{}, fmt.Errorf("zone %q: %w", zone, err)
	}
	if strings.Contains(expression, "TZ=") { // the parser would take it
		return Cron{}, fmt.Errorf("cron expression %q: the zone is given beside it", expression)
	}
	parsed, err := parser.Parse(strings.TrimSpace(expression))
	if err != nil {
		return Cron{}, fmt.Errorf("cron expression %q: %w", expression, err)
	}
	fields, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return Cron{}, fmt.Errorf("cron expression %q: intervals are counted from nowhere: write */15 in the minute field or the like", expression)
	}
	c := Cron{fields, location, fields.Hour&everyHour == everyHour}
	fields.Location = time.UTC
	if c.hourly {
		fields.Location = location
	}
	if c.Next(time.Now()).IsZero() {
		return Cron{}, fmt.Errorf("cron expression %q: never due", expression)
	}
	return c, nil
}

// Next returns the first time after t at which it is due, in its zone; zero if there is none in the next years.
func (c Cron) Next(t time.Time) time.Time {
	if c.fields == nil {
		return time.Time{}
	}
	if c.hourly {
		return c.inZone(c.fields.Next(t.In(c.zone)))
	}
	for wall := wallOf(t.In(c.zone)); ; {
		if wall = c.fields.Next(wall); wall.IsZero() {
			return time.Time{}
		}
		if due := c.moment(wall); due.After(t) {
			return due
		}
	}
}

func (c Cron) inZone(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.In(c.zone)
}

// wallOf is what a clock shows at t, as if it were UTC.
func wallOf(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// moment is when the clocks of the zone show wall for the first time, or change past it.
func (c Cron) moment(wall time.Time) time.Time {
	about := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), wall.Nanosecond(), c.zone)
	start, end := about.ZoneBounds()
	var first, latest time.Time
	for _, near := range []time.Time{start.Add(-1), about, end} { // their offsets are all that may hold
		_, offset := near.Zone()
		at := wall.Add(-time.Duration(offset) * time.Second).In(c.zone)
		if wallOf(at).Equal(wall) && (first.IsZero() || at.Before(first)) {
			first = at
		}
		if at.After(latest) {
			latest = at
		}
	}
	if !first.IsZero() {
		return first
	}
	change, _ := latest.ZoneBounds() // no clock shows it: the latest of its readings is behind the change
	return change
}
