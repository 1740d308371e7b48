package shard

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

const (
	waitFor = 30 * time.Second
	tick    = time.Millisecond
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// bleve's analysis workers live as long as the process.
		goleak.IgnoreTopFunction("github.com/blevesearch/bleve_index_api.AnalysisWorker"))
}
