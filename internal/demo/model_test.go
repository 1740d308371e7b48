package demo

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func texts100() []document {
	documents := make([]document, 100)
	for i := range documents {
		documents[i] = document{ID: fmt.Sprintf("d-%d", i), Seq: i, Doc: "words"}
	}
	return documents
}

func TestModelKnowsWhatMustBeFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m, want := newModel(texts100()), map[int]int{}
		frozenAt := map[int]int{}
		for range rapid.IntRange(1, 30).Draw(t, "bulks") {
			if rapid.Bool().Draw(t, "stop freezing") {
				m.freezing = false
			}
			count := rapid.IntRange(0, 10)
			writes := m.propose(mix{count.Draw(t, "puts"), count.Draw(t, "updates"), count.Draw(t, "deletes")})
			seen := map[int]bool{}
			for _, w := range writes {
				_, there := want[w.seq]
				_, isFrozen := frozenAt[w.seq]
				require.False(t, seen[w.seq], "twice in a bulk")
				require.False(t, isFrozen, "a frozen document is left alone")
				require.Equal(t, w.action != put, there, "%s of %d", w.action, w.seq)
				require.Greater(t, w.rev, m.documents[w.seq].Rev)
				seen[w.seq] = true
			}
			if rapid.IntRange(0, 3).Draw(t, "lost") == 0 {
				continue // not acknowledged: nothing has changed
			}
			m.accept(writes)
			for _, w := range writes {
				want[w.seq] = w.rev
				if w.action == remove {
					delete(want, w.seq)
				}
				if m.documents[w.seq].Set == frozen {
					frozenAt[w.seq] = w.rev
				}
			}
			require.Equal(t, len(want), m.live())
			for seq := range m.documents {
				rev, there := want[seq]
				require.Equal(t, there, m.alive(seq), "document %d", seq)
				if there {
					require.Equal(t, rev, m.documents[seq].Rev)
				}
			}
		}
	})
}

func TestModelWritesBulks(t *testing.T) {
	t.Parallel()
	m := newModel(texts100())
	first := m.propose(mix{puts: 5})
	body, err := m.encode(first)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(body)), "\n")
	require.Len(t, lines, 10)
	require.JSONEq(t, `{"index":{"_id":"d-0"}}`, lines[0])
	require.Contains(t, lines[1], `"set":"frozen"`)
	require.Contains(t, lines[3], `"set":"open"`)
	m.accept(first)

	body, err = m.encode([]write{{update, 1, 2, false}, {remove, 2, 2, false}})
	require.NoError(t, err)
	require.Equal(t, []string{`{"update":{"_id":"d-1"}}`, `{"doc":{"rev":2}}`, `{"delete":{"_id":"d-2"}}`, ""}, strings.Split(string(body), "\n"))
}
