package reindex

import "github.com/offline-nodes/offline-nodes/pkg/settings"

// settingRate is the dynamic setting behind Config.Rate.
var settingRate = settings.Int("reindex.rate", 0, 0, 1<<40,
	"documents per second that all slices on one node read together; 0: no limit")

// Definitions are the dynamic settings of nodes that reindex.
func Definitions() []settings.Definition { return []settings.Definition{settingRate.Definition} }

// RateIn is a Config.Rate that follows dynamic settings.
func RateIn(v *settings.Values) func() float64 {
	return func() float64 { return float64(settingRate.In(v)) }
}
