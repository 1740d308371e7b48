package life

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "6"); err != nil { // each is a whole life; -rapid.checks=n for more
		panic(err)
	}
	goleak.VerifyTestMain(m,
		// bleve's analysis workers live as long as the process.
		goleak.IgnoreAnyFunction("github.com/blevesearch/bleve_index_api.AnalysisWorker"))
}

func TestAnyLifeLeavesWhatWasWritten(t *testing.T) {
	root, lives, counts := t.TempDir(), 0, map[string]int{}
	var last *world
	defer func() { last.tell(t) }()
	steps := rapid.Custom(func(r *rapid.T) step {
		return step{rapid.IntRange(0, len(actions)-1).Draw(r, "action"), rapid.Uint64().Draw(r, "seed")}
	})
	rapid.Check(t, func(r *rapid.T) {
		lives++
		dir := filepath.Join(root, fmt.Sprint(lives))
		require.NoError(r, os.Mkdir(dir, 0o700))
		w := newWorld(r, dir, remotestore.NewMemory(), remotestore.NewMemory())
		defer w.close()
		if last == nil || !last.failed { // else it is only to be made shorter
			last = w
		}
		for _, s := range rapid.SliceOfN(steps, 30, 60).Draw(r, "steps") {
			w.play(s)
		}
		w.end()
		for what, n := range counts {
			w.counts[what] += n
		}
		counts = w.counts
	})
}

func TestALifeOnS3(t *testing.T) {
	const long = 6 * time.Second // and about as much again for what is to be seen at the end
	w := newWorld(t, t.TempDir(), open(t), open(t))
	defer w.close()
	defer w.tell(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for began := time.Now(); time.Since(began) < long && !t.Failed(); {
		w.play(step{random.IntN(len(actions)), random.Uint64()})
	}
	w.end()
}

// tell tells how a life went that a test fails by.
func (w *world) tell(t *testing.T) {
	t.Helper()
	if t.Failed() {
		t.Log("how it went:\n" + strings.Join(w.story, "\n"))
	}
	t.Log(w.counts)
}

// open opens a bucket of its own on a real S3 server.
func open(t *testing.T) remotestore.Store {
	t.Helper()
	b := testkit.S3(t)
	store, err := remotestore.Open(t.Context(), remotestore.Config{
		URL:       "s3://" + b.Name + "?region=" + b.Region + "&endpoint=" + b.Endpoint,
		AccessKey: b.AccessKey, SecretKey: remotestore.Secret(b.SecretKey),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.(interface{ Close() error }).Close()) })
	return store
}
