// Package claims keeps in Redis who runs which task now and how far it is:
// leases, beats, states, hop numbers, and the registry of nodes.
//
// A task has two keys in one slot. The lease says who may run it and vanishes
// unless it is renewed; the [State] says what became of it. Every transition is
// one Lua script that takes many tasks, judges each by itself and answers for
// each. Redis' clock is the only clock for leases.
//
// It promises, while Redis keeps its data: at most one unexpired lease per
// task; allocation ids that grow with every claim; a terminal status that
// nothing changes within a replay; refusal of beats and settlements under an
// older claim; and that what a settlement or a hop must still publish is
// answered as [Owed] before any copy of the task is called settled.
//
// It does not promise to remember. Redis may lose everything at any moment:
// that is noticed at the next call (see [Store.Cold]), no claim is granted in
// what was forgotten until the outcomes were restored, and running tasks put
// their leases back.
//
// An error returned for a whole call means unknown, not refused: some of it
// may have happened. Every call may be repeated with the same arguments and
// then has the same effect and answers.
package claims
