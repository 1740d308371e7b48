package claims

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/test/testkit"
)

// Found by killing a master under running nodes: they asked the dead one for a
// minute, long after its replica had taken its place.
func TestAReplicaOfAClusterIsFoundSoonAfterItTookItsMastersPlace(t *testing.T) {
	masters, replicas := testkit.StartRedisClusterWithReplicas(t, 3)
	var addrs []string
	for _, m := range masters {
		addrs = append(addrs, m.Addr)
	}
	f := openFixture(t, Config{Addrs: addrs, Cluster: true}).warm()
	masters[0].Kill()
	promoted := openFixture(t, Config{Addrs: []string{replicas[0].Addr}}).raw
	require.Eventually(t, func() bool {
		role, err := promoted.Do(f.ctx(), "ROLE").Slice()
		return err == nil && role[0] == "master"
	}, 30*time.Second, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		_, err := f.Cold(f.ctx()) // asks every bucket
		return err == nil
	}, 3*mapAge, 50*time.Millisecond)
}
