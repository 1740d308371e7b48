//go:build mutants

package kafkaqueue

import "github.com/offline-nodes/offline-nodes/internal/mutant"

// finished has every record that is finished commit by itself, without the turn, in a build that breaks rules.
func (m *member) finished(a *assignment) {
	if mutant.On("many committers") {
		go m.commit(m.client.Context(), []*assignment{a})
	}
}
