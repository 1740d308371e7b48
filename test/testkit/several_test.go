package testkit_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/offline-nodes/offline-nodes/test/testkit"
)

func TestThreeBrokersTakeRecordsWithoutOne(t *testing.T) {
	brokers := testkit.StartKafkaCluster(t, 3)
	client := kafkaClient(t, brokers[1].Addr, brokers[2].Addr)
	_, err := kadm.NewClient(client).CreateTopic(t.Context(), 3, 3, nil, "t")
	require.NoError(t, err)
	brokers[0].Kill()
	for range 9 {
		require.NoError(t, client.ProduceSync(t.Context(), record("t", "x")).FirstErr())
	}
	brokers[0].Restart()
}

func TestASentinelPromotesTheReplica(t *testing.T) {
	w := testkit.StartRedisWithSentinel(t)
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: testkit.SentinelName, SentinelAddrs: []string{w.Sentinel.Addr}})
	defer client.Close()
	require.NoError(t, client.Set(t.Context(), "k", "v", 0).Err())
	w.Master.Kill()
	require.Eventually(t, func() bool {
		return client.Set(t.Context(), "k", "w", 0).Err() == nil
	}, 20*time.Second, 100*time.Millisecond)
	require.Equal(t, "w", redisClient(t, w.Replica.Addr).Get(t.Context(), "k").Val())
}

func TestAReplicaTakesItsMastersPlaceInACluster(t *testing.T) {
	masters, replicas := testkit.StartRedisClusterWithReplicas(t, 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{masters[1].Addr}})
	defer client.Close()
	require.NoError(t, client.Set(t.Context(), "k", "v", 0).Err())
	masters[0].Kill()
	promoted := redisClient(t, replicas[0].Addr)
	require.Eventually(t, func() bool {
		role, err := promoted.Do(t.Context(), "ROLE").Slice()
		return err == nil && role[0] == "master"
	}, 20*time.Second, 100*time.Millisecond)
}

// ping asks an echoing server over a line, and tells what came back.
func ping(line net.Conn) (string, error) {
	if _, err := line.Write([]byte("ping")); err != nil {
		return "", err
	}
	answer := make([]byte, 4)
	if err := line.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		return "", err
	}
	_, err := io.ReadFull(line, answer)
	return string(answer), err
}

func TestAProxyHurtsALine(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer echo.Close()
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	p := testkit.StartProxy(t, echo.Addr().String())
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", p.Addr)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	line := dial()
	answer, err := ping(line)
	require.NoError(t, err)
	require.Equal(t, "ping", answer)

	p.BlackHole(testkit.ToClient)
	_, err = ping(line)
	require.ErrorContains(t, err, "timeout", "the connection is open, and silent")
	p.Heal()
	_, err = ping(line)
	require.Error(t, err, "what lost bytes is closed")

	p.Cut()
	_, err = ping(dial())
	require.Error(t, err)
	p.Heal()

	p.LoseAnswers(1000)
	_, err = ping(dial())
	require.ErrorIs(t, err, io.EOF)
	p.Heal()

	p.Delay(50 * time.Millisecond)
	began := time.Now()
	_, err = ping(dial())
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), 100*time.Millisecond, "both ways")
}
