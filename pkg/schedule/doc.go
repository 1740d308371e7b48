// Package schedule submits tasks at the times that cron expressions say.
//
// A schedule is a setting, "schedule/<name>", whose value is a [Definition] as JSON. Every offline node has a [Scheduler];
// the one with the lock submits.
//
// # Promises
//
//   - A run that is due is submitted, at the latest when the schedulers, Redis and Kafka have been well for a moment, unless it
//     is later than [Definition].Late by then: it counts as missed, and [Definition].Missed says what becomes of it.
//   - Runs of one schedule are submitted in their order.
//   - A run is one task, however often and by whomever it is submitted: its id is made of the schedule's name and the time at
//     which it was due ([TaskID]). So the lock saves double work and nothing depends on it; a scheduler that was frozen
//     and goes on beside another one does no harm.
//
// It does not look at whether the run before has ended.
//
// # Where the last run is kept
//
// In the settings topic, "scheduled/<name>": see [Mark]. The states of tasks would tell, too, but Redis forgets them after a day,
// or at once when it is emptied, and a schedule may be due once a month. A run's task is accepted first, and then
// its mark is written:
//
//	leader 1   submits 03:00 ── dies
//	leader 2                         finds the mark of 02:00 ── submits 03:00: it is there already ── marks 03:00
//
// The second submission finds the task as long as its state is kept (see package claims); a scheduler that comes a day later
// treats the run as missed.
//
// What was due before a schedule was set or changed is never submitted.
package schedule
