// Package fleet runs the programs of this project as processes for a test, on the servers that it is told, and gathers
// what they tell.
//
//	func TestMain(m *testing.M) { os.Exit(fleet.Main(m)) }
//
//	f := fleet.New(t)                              // on the shared servers, under a prefix of the test's own
//	n := f.Node("n1", "types.probe.slots=2")       // an offline-node, until the test ends
//	id := f.Submit(map[string]any{"for": "5s"})    // a probe
//	n.Kill()
//	e := f.Outcome(id, 0, time.Minute)
//
// Programs are built once per test binary, when they are first needed. A process that a test started ends with it, or
// with the test binary, however that ends.
package fleet
