package faults

import "time"

// What bounds are made of, as shipped.
const (
	lease   = 15 * time.Second
	session = 10 * time.Second
	beat    = 5 * time.Second
	// again is how soon a dead node's task runs elsewhere: max(session, lease) + 5 s.
	again = max(session, lease) + 5*time.Second
)

func unit(pkg, test string) Proof   { return Proof{Unit, pkg, test} }
func bubble(pkg, test string) Proof { return Proof{Bubble, pkg, test} }
func model() Proof                  { return Proof{Model, "test/model", "TestModels"} }
func simulation() Proof             { return bubble("test/sim", "TestRandomHistories") }
func e2e(test string) Proof         { return Proof{Real, "test/e2e", test} }
func row(test string) Proof         { return Proof{Real, "test/faults", test} }

// Rows are the 36 faults.
var Rows = []Row{
	{
		Number: 1, Fault: "kill -9 of the node that holds the lease and owns the partition",
		Invariants: []int{1, 3, 6, 7}, Bound: again, Why: "max(session, lease) + 5 s",
		Proofs: []Proof{
			row("TestRow1AHolderIsKilled"),
			row("TestRow1AHolderIsKilledUnderFastSettings"),
			simulation(), e2e("TestAKilledNodesTaskGoesOnElsewhereFromItsCheckpoint"),
		},
	},
	{
		Number: 2, Fault: "kill -9 of a node that lost the partition while it ran the task",
		Invariants: []int{1, 6}, Bound: again, Why: "lease + 5 s",
		Proofs: []Proof{
			row("TestRow2AHolderIsKilledAfterItsPartitionHasLeft"),
			simulation(),
		},
	},
	{
		Number: 3, Fault: "crash between two steps: effect, settlement, event, mark, commit",
		Invariants: []int{1, 3, 4, 6},
		Proofs: []Proof{
			row("TestRow3NodesAreKilledWhileTheirTasksEnd"),
			row("TestRow3ADataNodeIsKilledWhileMergesCommit"),
			simulation(), model(), bubble("pkg/merge", "TestCrashAnywhere"),
		},
		Open: "the steps are those of the node's hooks; a crash inside a system call is not placed",
	},
	{
		Number: 4, Fault: "a node stands still for two leases (SIGSTOP), then goes on",
		Invariants: []int{5, 6}, Bound: again, Why: "lease + 5 s",
		Proofs: []Proof{
			row("TestRow4AHolderStandsStillPastItsLease"),
			simulation(), bubble("pkg/node", "TestARunThatMayNotTrustItsLeaseAnyMoreDoesNotBegin"),
		},
	},
	{
		Number: 5, Fault: "a node stands still between its last check and the write of the manifest",
		Invariants: []int{5, 6},
		Proofs:     []Proof{simulation(), model(), unit("pkg/merge", "TestZombieIsRefused")},
	},
	{
		Number: 6, Fault: "a node joins or leaves every few minutes while tasks run for an hour",
		Invariants: []int{1, 7, 8},
		Proofs: []Proof{
			row("TestRow6NodesJoinAndLeaveUnderLongTasks"),
			row("TestRow6NodesJoinAndLeaveUnderLongTasksWithABalancingBroker"),
			bubble("pkg/node", "TestARunningTaskOutlivesARebalanceAndADrain"), e2e("TestADeployRunsNothingTwice"),
		},
	},
	{
		Number: 7, Fault: "a member commits late, after its partition was revoked",
		Invariants: []int{7, 8},
		Proofs:     []Proof{bubble("pkg/kafkaqueue", "TestLateFinishAfterARevokeHasNoEffect"), simulation()},
	},
	{
		Number: 8, Fault: "two hundred tasks finish at once, in many goroutines",
		Invariants: []int{8},
		Proofs:     []Proof{bubble("pkg/kafkaqueue", "TestConcurrentFinishesNeverRewind"), unit("pkg/kafkaqueue", "TestTrackerAgreesWithTheSlowModel")},
	},
	{
		Number: 9, Fault: "SIGTERM while tasks run; the grace period is long, or short",
		Invariants: []int{1, 10},
		Proofs: []Proof{
			row("TestRow9ALongGraceCostsNoWork"),
			row("TestRow9AShortGraceCostsNoAttempt"),
			row("TestRow9ARollingRestartRunsNothingAgain"),
			bubble("pkg/node", "TestAShortGraceGivesTasksBackAtOnceWithTheirCheckpoint"),
			e2e("TestADeployRunsNothingTwice"), e2e("TestAShortGraceLosesNoAttempt"),
		},
	},
	{
		Number: 10, Fault: "a task ignores that it is cancelled",
		Invariants: []int{9, 10},
		Proofs: []Proof{
			row("TestRow10ATaskThatIgnoresItsEndGoesWithTheProcess"),
			bubble("pkg/node", "TestAWorkerThatIgnoresItsContextEndsTheNode"),
		},
	},
	{
		Number: 11, Fault: "a task kills its worker each time",
		Invariants: []int{3, 9},
		Proofs: []Proof{
			row("TestRow11ATaskThatKillsItsWorkerIsGivenUp"),
			simulation(), unit("pkg/claims", "TestTaskLife"),
		},
	},
	{
		Number: 12, Fault: "a task is stuck while its node's beats go on",
		Invariants: []int{9},
		Proofs: []Proof{
			row("TestRow12AStuckTaskIsStoppedThoughItsNodeBeats"),
			bubble("pkg/task/tasktest", "TestHowAContextEndsDecides"), bubble("pkg/task/tasktest", "TestAWorkerThatReportsDoesNotStall"),
		},
	},
	{
		Number: 13, Fault: "Redis forgets everything (FLUSHALL)",
		Invariants: []int{1, 3, 5, 6}, Bound: again, Why: "one lease for beats to put leases back, then the rebuild: lease + 5 s",
		Proofs: []Proof{
			row("TestRow13RedisForgetsEverything"),
			bubble("pkg/node", "TestAnEmptiedRedisCostsNoWorkAndNoOutcome"), model(), simulation(),
		},
	},
	{
		Number: 14, Fault: "a Redis failover that loses the claims: the replica is behind, the master is killed",
		Invariants: []int{1, 3, 5, 6}, Bound: again + failover, Why: "lease + 5 s, after the 10 s that Sentinel or the Cluster may take for the failover",
		Proofs: []Proof{
			row("TestRow14SentinelPromotesAReplicaThatLostTheClaims"), row("TestRow14AMasterOfARedisClusterIsKilled"), simulation(),
		},
	},
	{
		Number: 15, Fault: "Redis is down for half a minute",
		Invariants: []int{1, 3}, Bound: again, Why: "counted from its return: it is cold after a restart, so lease + 5 s",
		Proofs: []Proof{
			row("TestRow15RedisIsDownAndBack"), bubble("pkg/node", "TestANodeClaimsAgainAfterRedisWasAway"),
			e2e("TestRedisAwayForAMinuteAndThenEmptyLosesNothing"),
		},
	},
	{
		Number: 16, Fault: "Redis' answers are lost, its writes are not",
		Invariants: []int{1, 2, 3}, Bound: again, Why: "counted from the end of the losses; a claim whose answer was lost is granted again by its nonce, or waits for its lease",
		Proofs: []Proof{
			row("TestRow16RedisAnswersAreLost"), unit("test/history", "TestClaimsAreLinearizable"),
			unit("test/history", "TestANaiveClaimIsNotLinearizable"), simulation(),
		},
	},
	{
		Number: 17, Fault: "Redis is at maxmemory",
		Invariants: []int{1, 3}, Bound: beat + 5*time.Second, Why: "counted from the moment memory is free: a beat + 5 s",
		Proofs: []Proof{
			row("TestRow17RedisIsFull"), unit("pkg/claims", "TestAFullServerKeepsWhatRuns"), e2e("TestANodeRefusesARedisThatMayEvict"),
		},
	},
	{
		Number: 18, Fault: "Redis' clock is an hour off",
		Invariants: []int{5, 6},
		Proofs:     []Proof{bubble("pkg/node", "TestARedisWhoseClockIsBehindStartsNoStormOfHops"), simulation()},
		Open:       "not on a real server: redis-server does not start under a library that changes its clock, and the machine's own clock is not the test's to set",
	},
	{
		Number: 19, Fault: "Kafka's answers to produce requests are lost",
		Invariants: []int{3, 4}, Bound: again, Why: "counted from the end of the losses: repeated by the idempotent producer, at most session + 5 s with a member that was cut off",
		Proofs: []Proof{
			row("TestRow19KafkaAnswersAreLost"), bubble("pkg/kafkaqueue", "TestLostProduceAnswersDoNotRepeatRecords"), simulation(),
		},
	},
	{
		Number: 20, Fault: "commits fail for twenty minutes",
		Invariants: []int{1, 7},
		Proofs:     []Proof{bubble("pkg/kafkaqueue", "TestCommitsThatFailForTwentyMinutesAreMadeUpFor"), simulation()},
		Open:       "a real broker cannot be told to refuse commits alone; rows 19, 21 and 33 refuse them together with everything else",
	},
	{
		Number: 21, Fault: "a broker of three is killed and comes back, one after the other; then two are away at once",
		Invariants: []int{1, 3, 4, 6}, Bound: session + 10*time.Second, Why: "session + 10 s for the election and the group's move; without two brokers of three from their return",
		Proofs: []Proof{
			row("TestRow21EachBrokerIsKilledAndComesBack"), row("TestRow21TwoBrokersOfThreeAreAway"),
			unit("pkg/kafkaqueue", "TestKafkaRestartLosesNothing"), simulation(),
		},
	},
	{
		Number: 22, Fault: "retention deletes records that nobody has read",
		Invariants: []int{11}, Bound: time.Minute + 10*time.Second, Why: "the gap watch looks each minute",
		Proofs: []Proof{
			row("TestRow22RetentionOvertakesTheGroup"),
			bubble("pkg/kafkaqueue", "TestRetentionThatOvertakesTheGroupIsReported"),
			bubble("pkg/kafkaqueue", "TestAnEmptiedLogIsAGapWithoutAnyRecord"),
		},
		Open: "a partition of which the group has never read a record: what retention takes there before is lost in silence",
	},
	{
		Number: 23, Fault: "partitions are added, and filled before they are noticed",
		Invariants: []int{1},
		Proofs:     []Proof{bubble("pkg/kafkaqueue", "TestNewPartitionsAreReadFromTheirStart"), simulation()},
	},
	{
		Number: 24, Fault: "a task topic is deleted and created again",
		Invariants: []int{10}, Bound: 30 * time.Second, Why: "the process ends, with a clear message, within 30 s",
		Proofs: []Proof{
			row("TestRow24ATopicIsDeletedAndCreatedAgain"),
			bubble("pkg/kafkaqueue", "TestATopicThatWasCreatedAnewEndsTheConsumer"),
		},
	},
	{
		Number: 25, Fault: "records that cannot be read: undecodable, oversize, of another version, a bomb",
		Invariants: []int{3, 9},
		Proofs: []Proof{
			e2e("TestBadRecordsAreSetAsideWholeAndBlockNothing"), bubble("pkg/kafkaqueue", "TestABatchThatDoesNotFitIntoMemoryIsSetAside"),
			unit("pkg/kafkaqueue", "FuzzDecode"),
		},
		Open: "a record whose checksum is wrong: a real broker does not take one",
	},
	{
		Number: 26, Fault: "the dead-letter topic refuses: too large, away",
		Invariants: []int{1, 9},
		Proofs: []Proof{
			bubble("pkg/kafkaqueue", "TestALetterThatIsTooLargeBecomesAStub"),
			bubble("pkg/kafkaqueue", "TestPassingRefusalsAreTriedForEverAndAcknowledgedOnce"), simulation(),
		},
		Open: "a topic that ACLs close: the brokers here have no authorizer",
	},
	{
		Number: 27, Fault: "a thousand tasks fail within a moment",
		Invariants: []int{1, 3}, Bound: 30 * time.Second, Why: "the largest delay of the policy (5 s, its jitter, its tier) and the runs themselves",
		Proofs: []Proof{row("TestRow27AThousandTasksFailAtOnce"), unit("pkg/task", "TestEveryDelayOfAValidPolicyIsWithinItsBounds")},
	},
	{
		Number: 28, Fault: "a task of hours in front of a thousand short ones, then its owner dies",
		Invariants: []int{7, 9}, Bound: again, Why: "as row 1",
		Proofs: []Proof{
			row("TestRow28TheOwnerOfALongTaskAheadOfShortOnesIsKilled"),
			bubble("pkg/kafkaqueue", "TestOnlyTheWatermarkIsCommitted"), simulation(),
		},
	},
	{
		Number: 29, Fault: "the answer to the write of a manifest is lost; the store ignores conditions",
		Invariants: []int{5, 6},
		Proofs: []Proof{
			row("TestRow29AnswersToManifestWritesAreLost"), row("TestRow29AStoreThatIgnoresConditionsIsRefused"),
			unit("pkg/remotestore", "TestS3LostAnswers"), unit("pkg/shard", "TestCommitsOfManyWritersAreAllApplied"), model(),
		},
	},
	{
		Number: 30, Fault: "uploads are cut; parts stay behind; the sweeper runs during merges",
		Invariants: []int{1, 6},
		Proofs: []Proof{
			row("TestRow30UploadsAreCutWhileTheSweeperRuns"), unit("pkg/remotestore", "TestS3Sweep"), bubble("pkg/remotegc", "TestNothingThatIsNeededGoes"),
		},
	},
	{
		Number: 31, Fault: "the disk for scratch files is full",
		Invariants: []int{1},
		Proofs: []Proof{
			row("TestRow31AMergeMovesFromAFullDisk"),
			unit("pkg/shard", "TestDiskFull"),
		},
	},
	{
		Number: 32, Fault: "a node is killed at its memory limit",
		Invariants: []int{1}, Bound: again, Why: "as row 1",
		Proofs: []Proof{
			row("TestRow32ANodeMeetsItsMemoryLimit"),
		},
	},
	{
		Number: 33, Fault: "the network is cut between a node and Kafka, Redis or the store, each alone",
		Invariants: []int{1, 3, 5, 6}, Bound: again, Why: "max(session, lease) + 5 s: on another node where Kafka or the store is cut off, from the end of the cut where Redis is",
		Proofs: []Proof{
			row("TestRow33CutFromKafka"), row("TestRow33CutFromRedis"), row("TestRow33CutFromTheStore"), simulation(),
		},
		Open: "a node that is cut from Redis alone keeps its partitions in Kafka: their tasks wait for it as long as that lasts",
	},
	{
		Number: 34, Fault: "a listener is away, or hears each event three times",
		Invariants: []int{4},
		Proofs: []Proof{
			bubble("pkg/kafkaqueue", "TestAListenerHearsEachOutcomeOnce"), bubble("pkg/kafkaqueue", "TestAnUnhandledEventIsNotCommitted"),
			bubble("pkg/datanode", "TestALostEventCostsAPoll"),
		},
	},
	{
		Number: 35, Fault: "random histories of all of this",
		Invariants: []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
		Proofs:     []Proof{simulation(), bubble("test/sim", "TestTheObserverNoticesMutants"), bubble("test/life", "TestAnyLifeLeavesWhatWasWritten")},
		Open:       "what no history has drawn: those of `make sim` are told of at the end of this page",
	},
	{
		Number: 36, Fault: "a node meets records of a later version",
		Invariants: []int{1, 9},
		Proofs:     []Proof{unit("pkg/kafkaqueue", "TestWhatCannotBeReadIsKeptWhole"), simulation()},
		Open:       "programs of two releases side by side: there is one release",
	},
}

// failover is what Sentinel or a Cluster may take to promote a replica, with the settings of the tests.
const failover = 10 * time.Second
