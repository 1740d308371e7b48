package claims

import (
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Buckets is into how many parts the tasks are divided by the root of their
// id. A bucket is a slot of a Cluster, and what becomes cold or warm as a whole.
const Buckets = 64

// Bucket is the bucket of a task: XXH64 of its id's root, modulo [Buckets].
func Bucket(id string) int { return int(xxhash.Sum64String(task.Root(id)) % Buckets) }

// keys names everything that the store keeps. The braces are a Cluster's hash
// tag: what is inside them chooses the slot.
type keys struct {
	prefix string
	tags   [Buckets]string // prefix + {07}
}

func newKeys(prefix string) keys {
	k := keys{prefix: prefix}
	for b := range Buckets {
		k.tags[b] = fmt.Sprintf("%s{%02d}", prefix, b)
	}
	return k
}

func (k *keys) lease(bucket int, id string) string { return k.tags[bucket] + "l:" + id }
func (k *keys) state(bucket int, id string) string { return k.tags[bucket] + "s:" + id }
func (k *keys) epoch(bucket int) string            { return k.tags[bucket] + "epoch" }
func (k *keys) failed(bucket int) string           { return k.tags[bucket] + "failed" }
func (k *keys) running(bucket int) string          { return k.tags[bucket] + "running" }

// idAt is the length of a state key before its id.
func (k *keys) idAt() int { return len(k.prefix) + len("{00}s:") }

// stateGlob matches every state key.
func (k *keys) stateGlob() string {
	escape := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `^`, `\^`)
	return escape.Replace(k.prefix) + "{[0-9][0-9]}s:*"
}

func (k *keys) wakes() string          { return k.prefix + "wake" }
func (k *keys) lock(n LockName) string { return k.prefix + "{" + string(n) + "}" }
func (k *keys) nodes() string          { return k.prefix + "{nodes}" }
func (k *keys) node(id string) string  { return k.prefix + "{nodes}:" + id }

// ancestors are the ids above a task, the root first.
func ancestors(id string) (ids []string) {
	for i := range len(id) {
		if id[i] == '/' {
			ids = append(ids, id[:i])
		}
	}
	return ids
}
