package demo

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPercentiles(t *testing.T) {
	t.Parallel()
	require.Zero(t, latencies(nil).percentile(50))
	require.Equal(t, 7*time.Second, latencies{7 * time.Second}.percentile(99))

	hundred := make(latencies, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i+1) * time.Millisecond
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(100, func(i, j int) { hundred[i], hundred[j] = hundred[j], hundred[i] })
	before := slices.Clone(hundred)
	for p, want := range map[float64]int{50: 50, 99: 99, 99.5: 100, 100: 100, 1: 1, 0: 1} {
		require.EqualValues(t, want, hundred.percentile(p).Milliseconds(), "p%v", p)
	}
	require.Equal(t, before, hundred, "asking changes nothing")
}
