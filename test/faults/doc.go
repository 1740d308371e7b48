// Package faults proves what becomes of the promises when something breaks: a table of 36 faults ([Rows]), for each the
// bound on its recovery and the tests that prove it, and the tests of those that need real processes and real servers.
//
//	make faults                    # everything, and docs/faults.md (COUNT=3 runs per row, ROWS=13,14 only some)
//	FAULTS=1 go test -tags synctests -v -run TestRow13 ./test/faults
//
// Without FAULTS=1 the rows are left out: together they take most of an hour.
//
// # How a row is written
//
//	func TestRow13RedisForgetsEverything(t *testing.T) {
//		r := begin(t, 13)                         // skips without FAULTS=1; knows the row's bound
//		redis := testkit.StartRedis(t)            // a server to hurt is the test's own, others are shared
//		f := r.fleet(fleet.Servers{Kafka: testkit.Kafka(t), Redis: []string{redis.Addr}})
//		f.Node("n1")
//		work := r.load(f, loadOf{})               // short probes all the time, and what became of each
//		long := f.Submit(map[string]any{"for": "20s"})
//		f.Active(long, time.Minute, nil)
//
//		r.strike("FLUSHALL")                      // the moment from which recovery counts
//		flush(t, redis)
//		work.next(time.Minute)                    // a task that was submitted after this has ended
//		r.recovered("first completion")           // fails over the row's bound
//
//		work.stop()
//		r.audit(f, work, mayRunTwice)             // nothing accepted is lost, one outcome each, no stale effect
//	}
//
// A row whose recovery is not a time has no bound in the table, and does not call recovered. What a run measured leaves
// the test as an attribute ([Key]) in the output of go test -json; the command ./test/faults/cmd/faults gathers those and
// writes the report. What a row does not cover is said in the table, beside what it does.
package faults
