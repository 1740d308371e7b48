// Package testkit gives a test its real servers in one line: Apache Kafka, Redis and S3.
//
//	func TestClaims(t *testing.T) {
//		redis := testkit.Redis(t)  // host:port
//		prefix := testkit.Name(t)  // nobody else's keys begin so
//
// # Where servers come from
//
// Addresses in the environment win: OFFLINE_TEST_KAFKA (host:port, more than one separated by commas), OFFLINE_TEST_REDIS
// (host:port) and OFFLINE_TEST_S3 (http://access:secret@host:port). `make test` starts one set of servers and names
// them so to every package.
//
// Otherwise a test binary starts what its tests ask for, once, and shares it among them: as containers when a Docker
// daemon answers and has the images (OFFLINE_TEST_IMAGE_KAFKA, OFFLINE_TEST_IMAGE_REDIS, OFFLINE_TEST_IMAGE_S3; nothing
// is pulled), else as processes from what `make deps` installed. OFFLINE_TEST_SERVERS=local or =docker leaves no choice.
// The servers and their data are gone when the test binary has ended, however it ended. Each binary says once, on
// its standard error, what it runs on.
//
// A missing server program fails the test and says what to install. Only -short or OFFLINE_TEST_SHORT=1 skip tests with
// real servers.
//
// # Sharing
//
// [Kafka], [Redis] and [S3] are shared by tests that may run at the same time, and by test runs if the environment names
// them: use topics, groups and keys that begin with [Name], never flush or count what others may touch. A test that
// kills, pauses, fills or reconfigures a server starts one of its own, in one line: [StartKafka], [StartKafkaCluster],
// [StartRedis], [StartRedisWithSentinel], [StartRedisCluster], [StartRedisClusterWithReplicas]. What goes wrong between a
// client and a server is a [Proxy]'s matter ([StartProxy], [StartKafkaBehindProxy]), or for S3 that of [Bucket.Through].
package testkit
