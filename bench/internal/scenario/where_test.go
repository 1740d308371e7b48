package scenario

import (
	"testing"
	"time"

	"github.com/google/pprof/profile"
	"github.com/stretchr/testify/require"
)

func TestTheInnermostFunctionWithAnOwnerCounts(t *testing.T) {
	const ours = "github.com/offline-nodes/offline-nodes/pkg/"
	stack := func(ms int64, names ...string) *profile.Sample {
		s := &profile.Sample{Value: []int64{1, ms * int64(time.Millisecond)}}
		for _, name := range names {
			s.Location = append(s.Location, &profile.Location{Line: []profile.Line{{Function: &profile.Function{Name: name}}}})
		}
		return s
	}
	require.Equal(t, []part{
		{"worker: claims and settlements", 50 * time.Millisecond},
		{"worker: " + collecting, 30 * time.Millisecond},
		{"worker: " + scheduling, 20 * time.Millisecond},
		{"worker: lanes and settler", 10 * time.Millisecond},
	}, divide(&profile.Profile{Sample: []*profile.Sample{
		stack(40, "encoding/json.Marshal", ours+"claims.Info.Encode", ours+"node.(*lane).ask"),
		stack(10, "runtime.mallocgc", ours+"claims.(*Store).claimCall"),
		stack(30, "runtime.scanobject", "runtime.gcAssistAlloc", "runtime.mallocgc", ours+"node.(*lane).ask"),
		stack(20, "runtime.futex", "runtime.findRunnable", "runtime.mcall"),
		stack(10, "runtime.mapassign", ours+"node.(*lane).next"),
	}}))
}
