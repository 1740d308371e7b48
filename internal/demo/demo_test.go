//go:build unix

package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

// built makes the two programs, once for all tests.
var built = sync.OnceValues(func() (programs, error) {
	dir, err := os.MkdirTemp("", "offline-demo-test-")
	if err != nil {
		return programs{}, err
	}
	builtIn = dir
	return build(context.Background(), dir)
})

var builtIn string // removed by TestMain

// output is what a demo prints; it calls seen for each line.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	seen func(line string)
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen != nil {
		for line := range strings.Lines(string(p)) {
			o.seen(line)
		}
	}
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func quick(t *testing.T, out *output) Options {
	t.Helper()
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	with, err := built()
	require.NoError(t, err)
	return Options{Documents: 1200, JSON: true, Out: out, programs: with}
}

// bounded ends before the test run does: what is killed then cannot clear up.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx := t.Context()
	if deadline, ok := t.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-20*time.Second))
		t.Cleanup(cancel)
	}
	return ctx
}

// nothingLeft makes sure that processes and folder are gone.
func nothingLeft(t *testing.T, printed string) {
	t.Helper()
	unfolded := strings.Join(strings.Fields(printed), " ")
	pids := regexp.MustCompile(`\(pid (\d+)\)`).FindAllStringSubmatch(unfolded, -1)
	require.GreaterOrEqual(t, len(pids), 3, printed)
	for _, m := range pids {
		pid, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		require.True(t, gone(pid), "process %d is left", pid)
	}
	dir := regexp.MustCompile(`logs in (\S+)`).FindStringSubmatch(unfolded)
	require.NotNil(t, dir, printed)
	require.NoDirExists(t, dir[1])
}

// reported is the last line.
func reported(t *testing.T, printed string) Report {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(printed), "\n")
	var r Report
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &r), printed)
	return r
}

// held checks what does not depend on how fast the machine is.
func held(t *testing.T, err error, printed string) {
	t.Helper()
	r := reported(t, printed)
	late := r.Recovery.Claimed > r.Recovery.Limit
	if err != nil && (!late || !errors.Is(err, errNotHeld)) {
		t.Fatalf("%v\n%s", err, printed)
	}
	require.True(t, r.Hits.Equal)
	require.GreaterOrEqual(t, r.Hits.Queries, 20)
	require.Zero(t, r.Searches.Failed+r.Searches.Wrong+r.Documents.Lost+r.Documents.CameBack+r.Documents.Outdated)
	require.Positive(t, r.Searches.Answered)
	require.Positive(t, r.Documents.Deleted)
	require.Positive(t, r.Documents.Updated)
	require.GreaterOrEqual(t, r.Documents.Live, 900)
	require.NotEqual(t, r.Recovery.Killed, r.Recovery.TakenBy)
	require.Contains(t, printed, "takes over")
	require.Positive(t, r.Merges.Offline) // how many segments there are then is up to the writes, which go on
}

func TestDemo(t *testing.T) {
	out := &output{}
	err := Run(bounded(t), quick(t, out))
	held(t, err, out.String())
	nothingLeft(t, out.String())
}

func TestDemoOnRealServers(t *testing.T) {
	out := &output{}
	o := quick(t, out)
	brokers, bucket := testkit.Kafka(t), testkit.S3(t)
	o.Kafka, o.Redis = strings.Join(brokers, ","), testkit.Redis(t)
	o.S3 = "s3://" + bucket.Name + "?region=" + bucket.Region + "&endpoint=" + bucket.Endpoint
	o.Environ = append(os.Environ(), "OFFLINE_STORE__ACCESS_KEY="+bucket.AccessKey, "OFFLINE_STORE__SECRET_KEY="+bucket.SecretKey)
	err := Run(bounded(t), o)
	held(t, err, out.String())
	nothingLeft(t, out.String())

	prefix := regexp.MustCompile(`under (demo-\w+)`).FindStringSubmatch(out.String())
	require.NotNil(t, prefix, out.String())
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	require.NoError(t, err)
	defer client.Close()
	topics, err := kadm.NewClient(client).ListTopics(t.Context())
	require.NoError(t, err)
	require.NotContains(t, strings.Join(topics.Names(), " "), prefix[1])
	groups, err := kadm.NewClient(client).ListGroups(t.Context())
	require.NoError(t, err)
	require.NotContains(t, strings.Join(groups.Groups(), " "), prefix[1])
	keys := redis.NewClient(&redis.Options{Addr: o.Redis})
	defer keys.Close()
	left, _, err := keys.Scan(t.Context(), 0, prefix[1]+"*", 1_000_000).Result()
	require.NoError(t, err)
	require.Empty(t, left)
	store, err := remotestore.Open(t.Context(), remotestore.Config{
		URL: o.S3, AccessKey: bucket.AccessKey, SecretKey: remotestore.Secret(bucket.SecretKey),
	})
	require.NoError(t, err)
	for object, err := range store.List(t.Context(), "", "") {
		require.NoError(t, err)
		t.Errorf("%s is left", object.Key)
	}
}

func TestDemoThatIsInterruptedLeavesNothing(t *testing.T) {
	for name, moment := range map[string]string{
		"after the start":  "started broker",
		"while it indexes": "indexes; one in",
		"after the kill":   "kill -9",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, interrupt := context.WithCancelCause(bounded(t))
			defer interrupt(nil)
			out := &output{seen: func(line string) {
				if strings.Contains(line, moment) {
					interrupt(ErrInterrupted)
				}
			}}
			require.ErrorIs(t, Run(ctx, quick(t, out)), ErrInterrupted)
			nothingLeft(t, out.String())
			require.NotContains(t, out.String(), "the end of", "there is no failure to explain")
		})
	}
}

func TestDemoWhoseNodeEndsByItselfSaysSo(t *testing.T) {
	out := &output{}
	o := quick(t, out)
	o.programs.dataNode, o.Environ = os.Args[0], role("broken")
	err := Run(bounded(t), o)
	require.ErrorContains(t, err, "data-node ended: exit status 3")
	require.ErrorContains(t, err, "something is missing")
	require.Contains(t, out.String(), "the end of")
	dir := regexp.MustCompile(`logs in (\S+)`).FindStringSubmatch(strings.Join(strings.Fields(out.String()), " "))
	require.NoDirExists(t, dir[1])
}

func TestOptionsAreChecked(t *testing.T) {
	require.ErrorContains(t, Run(t.Context(), Options{Out: &output{}, Documents: 3}), "take 1000 or more")
	require.ErrorContains(t, Run(t.Context(), Options{}), "something to print to")
	require.ErrorContains(t, Run(t.Context(), Options{Out: &output{}, S3: "s3://bad host"}), "store URL")
}

func TestStoreURLBelowAnother(t *testing.T) {
	for in, want := range map[string]string{
		"s3://b?endpoint=http://h:1&region=r": "s3://b/demo-x?endpoint=http://h:1&region=r",
		"s3://b/p/?region=r":                  "s3://b/p/demo-x?region=r",
		"file:///d":                           "file:///d/demo-x",
	} {
		got, err := below(in, "demo-x")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestOnlyWhatIsAboutRealServersIsPassedOn(t *testing.T) {
	o := Options{Redis: "r:1", Environ: []string{"HOME=/h", "OFFLINE_CONFIG=x", "OFFLINE_KAFKA__PREFIX=p", "OFFLINE_REDIS__PASSWORD=s", "OFFLINE_STORE__URL=u"}}
	require.Equal(t, []string{"HOME=/h", "OFFLINE_REDIS__PASSWORD=s"}, o.environ())
	require.NotNil(t, (&Options{}).environ(), "nil would stand for the process's own")
}
