package claims

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

func TestConfigReportsEveryMistake(t *testing.T) {
	require.NoError(t, Config{Addrs: []string{"a:1"}}.Validate())
	err := Config{
		Cluster: true, MasterName: "m", DB: 3, Prefix: "{x}", Beat: time.Second, Lease: time.Second,
		Trust: time.Minute, Retention: time.Second, MaxLost: 1000,
	}.Validate()
	require.Error(t, err)
	for _, part := range []string{"none given", "exclude each other", "db 3", "braces", "three beats", "trust window", "retention", "max lost"} {
		require.ErrorContains(t, err, part)
	}
	_, err = Open(t.Context(), Config{})
	require.ErrorContains(t, err, "none given")
	require.ErrorContains(t, Config{Addrs: []string{"a:1", "b:1"}}.Validate(), "set cluster or a master name")
}

func TestConfigHidesItsPasswords(t *testing.T) {
	cfg := Config{Addrs: []string{"a:1"}, Password: "hidden", SentinelPassword: "hidden"}
	require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", cfg, cfg, cfg, cfg.LogValue()), "hidden")
}

func TestOpenTellsAServerThatIsAway(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().String()
	require.NoError(t, listener.Close())
	_, err = Open(t.Context(), Config{Addrs: []string{addr}, Password: "hidden"})
	require.ErrorIs(t, err, ErrUnreachable)
	require.NotContains(t, err.Error(), "hidden")
}

func TestOpenRefusesAServerThatMayEvict(t *testing.T) {
	server := testkit.StartRedis(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	_, err := Open(t.Context(), Config{Addrs: []string{server.Addr}})
	require.ErrorIs(t, err, ErrEvicting)
	require.ErrorContains(t, err, "allkeys-lru")
}

func TestAFullServerKeepsWhatRuns(t *testing.T) {
	server := testkit.StartRedis(t)
	f := openFixture(t, Config{Addrs: []string{server.Addr}}).warm()
	record := first("t")
	lease := f.grant("call", record).Lease
	require.NoError(t, f.raw.ConfigSet(f.ctx(), "maxmemory", "1mb").Err())
	a := f.claim("node", "call2", first("new"))
	require.Equal(t, Failed, a.Verdict)
	require.ErrorContains(t, a.Err, "OOM")
	require.Equal(t, Kept, f.beat(record.beat(lease)))
	// The lease goes first, and after that the server lets the script finish.
	require.Equal(t, Done, f.settle(record.settle(lease, task.Success)).Verdict)
	require.Equal(t, task.Success, f.state("t").Status)
	require.Negative(t, f.leaseLeft("t"))
	require.NoError(t, f.raw.ConfigSet(f.ctx(), "maxmemory", "0").Err())
	require.Equal(t, Granted, f.claim("node", "call2", first("new")).Verdict)
}

func TestScriptsThatTheServerForgotAreSentAgain(t *testing.T) {
	server := testkit.StartRedis(t)
	f := openFixture(t, Config{Addrs: []string{server.Addr}}).warm()
	var asks []Ask
	for n := range 3 * MaxBatch {
		asks = append(asks, first(name("t", n)))
	}
	require.NoError(t, f.raw.ScriptFlush(f.ctx()).Err())
	answers, err := f.Claim(f.ctx(), "node", "call", asks)
	require.NoError(t, err)
	for _, a := range answers {
		require.Equal(t, Granted, a.Verdict)
	}
	require.NoError(t, f.raw.ScriptFlush(f.ctx()).Err())
	require.Equal(t, Kept, f.beat(asks[0].beat(answers[0].Lease)))
}

// minimalUser is what docs/formats/redis.md tells operators to allow.
const minimalUser = "~offline:* &offline:*wake -@all +eval +evalsha +script|load +ping +info +time +get +set +mget +mset +del" +
	" +pttl +pexpire +setrange +getrange +publish +subscribe +unsubscribe +scan +zadd +zrem +zrange +zscan +zremrangebyscore"

func TestAUserWithTheLeastRightsIsEnough(t *testing.T) {
	server := testkit.StartRedis(t)
	admin := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer admin.Close()
	args := append([]any{"ACL", "SETUSER", "offline", "on", ">secret"}, fields(minimalUser)...)
	require.NoError(t, admin.Do(t.Context(), args...).Err())

	_, err := Open(t.Context(), Config{Addrs: []string{server.Addr}, Username: "offline", Password: "wrong-secret"})
	require.ErrorContains(t, err, "WRONGPASS")
	require.NotContains(t, err.Error(), "wrong-secret")

	f := openFixture(t, Config{Addrs: []string{server.Addr}, Username: "offline", Password: "secret", Prefix: "offline:"}).warm()
	everything(t, f)
	for _, finding := range f.Check(f.ctx()) {
		require.NotEqual(t, Problem, finding.Severity, finding)
	}

	require.NoError(t, admin.Do(t.Context(), "ACL", "SETUSER", "offline", "-info").Err())
	record := first("no-info")
	lease := f.grant("no-info", record).Lease
	require.Equal(t, Kept, f.beat(record.beat(lease)))
	var told bool
	for _, finding := range f.Check(f.ctx()) {
		told = told || strings.Contains(finding.What, "INFO is refused")
	}
	require.True(t, told)
}

// minimalClusterUser is allowed on top of that on a Cluster.
const minimalClusterUser = " +cluster|slots"

func fields(text string) (args []any) {
	for f := range strings.FieldsSeq(text) {
		args = append(args, f)
	}
	return args
}

// everything calls every method once, with success.
func everything(t *testing.T, f *fixture) {
	t.Helper()
	record := first("every")
	lease := f.grant("call", record).Lease
	b := record.beat(lease)
	b.Active = true
	require.Equal(t, Kept, f.beat(b))
	require.Equal(t, 1, f.hop(record.hop(lease)).Hop)
	require.Equal(t, Done, f.settle(record.settle(lease, task.Failed)).Verdict)
	f.published("every")
	child := first("family/1")
	require.Equal(t, Done, f.settle(child.settle(f.grant("call", child).Lease, task.Success)).Verdict)
	_, err := f.Submit(f.ctx(), []Submission{{ID: "waits"}})
	require.NoError(t, err)
	_, _, err = f.Cancel(f.ctx(), "waits", nil)
	require.NoError(t, err)
	for _, filter := range []Filter{{}, {Statuses: []task.Status{task.Failed}}, {Statuses: []task.Status{task.Active}}} {
		_, _, err = f.List(f.ctx(), filter, "", 1000)
		require.NoError(t, err)
	}
	require.NoError(t, f.Restore(f.ctx(), []Outcome{{ID: "outcome", Attempt: 1, Status: task.Failed}}))
	lock, err := f.Lock(RebuildLock, "node")
	require.NoError(t, err)
	_, err = lock.Take(f.ctx())
	require.NoError(t, err)
	_, err = lock.Take(f.ctx())
	require.NoError(t, err)
	require.NoError(t, lock.Release(f.ctx()))
	require.NoError(t, f.Register(f.ctx(), Node{ID: "n"}, time.Minute))
	_, err = f.Nodes(f.ctx())
	require.NoError(t, err)
	require.NoError(t, f.Unregister(f.ctx(), "n"))

	ctx, cancel := context.WithCancel(f.ctx())
	woken, done := make(chan string, 10), make(chan error, 1)
	go func() { done <- f.Wakes(ctx, func(id string) { woken <- id }) }()
	require.Eventually(t, func() bool {
		f.published("every")
		return len(woken) > 0
	}, 10*time.Second, 20*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
}

func TestCluster(t *testing.T) {
	nodes := testkit.StartRedisCluster(t, 3)
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.Addr)
	}
	f := openFixture(t, Config{Addrs: addrs, Cluster: true})
	cold, err := f.Cold(f.ctx())
	require.NoError(t, err)
	require.Len(t, cold.Buckets, Buckets)
	f.warm()
	everything(t, f)
	testList(t, openFixture(t, Config{Addrs: addrs, Cluster: true, Prefix: "list:"}).warm())

	var asks []Ask
	for n := range 2 * MaxBatch {
		asks = append(asks, first(name("task-", n)))
	}
	answers, err := f.Claim(f.ctx(), "node", "call", asks)
	require.NoError(t, err)
	again, err := f.Claim(f.ctx(), "node", "call", asks)
	require.NoError(t, err)
	for i, a := range answers {
		require.Equal(t, Granted, a.Verdict)
		require.Equal(t, a.Lease, again[i].Lease)
	}

	// A restricted user is enough here too.
	for _, n := range nodes {
		admin := redis.NewClient(&redis.Options{Addr: n.Addr})
		args := append([]any{"ACL", "SETUSER", "offline", "on", ">secret"}, fields(minimalUser+minimalClusterUser)...)
		require.NoError(t, admin.Do(f.ctx(), args...).Err())
		require.NoError(t, admin.Close())
	}
	everything(t, openFixture(t, Config{Addrs: addrs, Cluster: true, Username: "offline", Password: "secret", Prefix: "offline:acl:"}).warm())

	// One master of three is away: a third is unknown, the rest goes on.
	nodes[0].Pause()
	ctx, cancel := context.WithTimeout(f.ctx(), 3*time.Second)
	defer cancel()
	beats := make([]Beat, len(asks))
	for i, a := range asks {
		beats[i] = a.beat(answers[i].Lease)
	}
	kept, err := f.Beat(ctx, beats)
	nodes[0].Resume()
	require.NoError(t, err)
	count := map[BeatVerdict]int{}
	for _, a := range kept {
		count[a.Verdict]++
	}
	require.Positive(t, count[Kept])
	require.Positive(t, count[Unknown])
	require.Equal(t, len(beats), count[Kept]+count[Unknown])
}

func TestCheckNamesWhatEndangersAPromise(t *testing.T) {
	server := testkit.StartRedis(t, "--appendonly", "no")
	f := openFixture(t, Config{Addrs: []string{server.Addr}})
	require.NoError(t, f.raw.ConfigSet(f.ctx(), "maxmemory-policy", "volatile-lru").Err())
	require.NoError(t, f.raw.ConfigSet(f.ctx(), "maxmemory", "1mb").Err())
	severity := map[string]Severity{}
	for _, finding := range f.Check(f.ctx()) {
		require.NotEmpty(t, finding.Advice)
		severity[finding.What] = finding.Severity
	}
	find := func(part string) Severity {
		for what, s := range severity {
			if strings.Contains(what, part) {
				return s
			}
		}
		return ""
	}
	require.Equal(t, Problem, find("volatile-lru"))
	require.Equal(t, Warning, find("append-only"))
	require.Equal(t, Warning, find("of maxmemory is used"))
	require.Equal(t, Notice, find("cold"))
	require.Equal(t, Notice, find("no replica"))
	require.Empty(t, find("scripts cannot see"))

	server.Kill()
	found := f.Check(f.ctx())
	require.Len(t, found, 1)
	require.Equal(t, Problem, found[0].Severity)
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	pool, certFile, keyFile := selfSigned(t, dir)
	port := freePort(t)
	testkit.StartRedis(t, "--tls-port", port, "--tls-cert-file", certFile, "--tls-key-file", keyFile, "--tls-auth-clients", "no")
	addr := net.JoinHostPort("127.0.0.1", port)
	f := openFixture(t, Config{Addrs: []string{addr}, TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}).warm()
	f.grant("call", first("t"))
	_, err := Open(t.Context(), Config{Addrs: []string{addr}, TLS: &tls.Config{MinVersion: tls.VersionTLS12}})
	require.ErrorContains(t, err, "certificate")
}

func selfSigned(t *testing.T, dir string) (pool *x509.CertPool, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600))
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool = x509.NewCertPool()
	pool.AddCert(cert)
	return pool, certFile, keyFile
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	return port
}
