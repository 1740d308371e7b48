package node

import (
	"testing"

	"pgregory.net/rapid"
)

func TestWaitingKeepsOrderWithinItsHalves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w waiting
		var looked, unlooked []*record // the slow obvious version
		pop := func() *record {
			from := &looked
			if len(looked) == 0 {
				from = &unlooked
			}
			if len(*from) == 0 {
				return nil
			}
			r := (*from)[0]
			*from = (*from)[1:]
			return r
		}
		for range rapid.IntRange(1, 5000).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1, 2, 3, 4:
				r := &record{looked: rapid.Bool().Draw(t, "looked")}
				w.push(r)
				if r.looked {
					looked = append(looked, r)
				} else {
					unlooked = append(unlooked, r)
				}
			case 5, 6, 7, 8:
				if got, want := w.pop(), pop(); got != want {
					t.Fatalf("popped %p, want %p", got, want)
				}
			case 9:
				dropped := rapid.Bool().Draw(t, "dropped")
				w.keep(func(r *record) bool { return r.looked != dropped })
				if dropped {
					looked = nil
				} else {
					unlooked = nil
				}
			}
			if w.len() != len(looked)+len(unlooked) {
				t.Fatalf("holds %d, want %d", w.len(), len(looked)+len(unlooked))
			}
		}
	})
}
