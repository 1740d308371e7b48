package kafkaqueue

import (
	"strconv"
	"strings"
	"time"
)

// names knows every topic and group of one prefix.
type names struct{ prefix string }

func (n names) task(typ string) string          { return n.prefix + "tasks." + typ }
func (n names) again(typ string) string         { return n.prefix + "tasks." + typ + ".again" }
func (n names) tier(delay time.Duration) string { return n.prefix + "tasks.retry." + shortDelay(delay) }
func (n names) results() string                 { return n.prefix + "tasks.results" }
func (n names) deadLetter() string              { return n.prefix + "tasks.dead-letter" }
func (n names) settings() string                { return n.prefix + "tasks.settings" }

func (n names) group(typ string) string { return n.prefix + "offline-nodes." + typ }

// routerGroup cannot be a type's group: no type starts with "retry.".
func (n names) routerGroup() string { return n.prefix + "offline-nodes.retry.router" }

// shortDelay writes a delay as people do: 5s, 2m, 1h30m.
func shortDelay(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// validTopicPart tells whether s may be part of a topic's name.
func validTopicPart(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-", rune(c)) {
			return false
		}
	}
	return true
}

// place writes a record's place: topic/partition/offset.
func place(topic string, partition int32, offset int64) string {
	return topic + "/" + strconv.Itoa(int(partition)) + "/" + strconv.FormatInt(offset, 10)
}
