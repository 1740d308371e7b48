//go:build synctests

package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
)

// outcomeKey is what has one outcome.
type outcomeKey struct {
	id     string
	replay int
}

// terminal is a terminal status that Redis showed.
type terminal struct {
	status byte
	at     time.Time
}

// head is what the scripts read of a state; see the table in pkg/claims.
type head struct {
	status, published byte
	allocation        string
	order             string // replay (4), attempt (4), hop (6)
}

func readHead(state string) (h head, ok bool) {
	if len(state) < 95 || state[0] != '1' {
		return h, false
	}
	return head{state[1], state[2], state[4:18], state[51:65]}, true
}

func (h head) ended() bool { return h.status >= '4' }

func (h head) replay() int {
	n, _ := strconv.Atoi(h.order[:4])
	return n
}

// lookAtRedis judges what became of every state and lease since the last look.
// It is called before each command, so hardly a transition is missed.
func (o *observer) lookAtRedis() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id := range o.tasks {
		tag := fmt.Sprintf("%s{%02d}", claims.DefaultPrefix, claims.Bucket(id))
		state, _ := o.w.servers.Redis.Get(tag + "s:" + id)
		lease, _ := o.w.servers.Redis.Get(tag + "l:" + id)
		if state != o.redis.states[id] {
			o.stats.States++
			o.judgeState(id, o.redis.states[id], state)
			o.redis.states[id] = state
		}
		if lease != o.redis.leases[id] {
			o.stats.Leases++
			o.judgeLease(id, o.redis.leases[id], lease)
			o.redis.leases[id] = lease
		}
		if state != "" && lease != "" && lease[len(lease)-14:] != state[4:18] {
			o.broken(I2, "%s: the lease is of allocation %s, the state of %s", id, lease[len(lease)-14:], state[4:18])
		}
	}
}

func (o *observer) judgeState(id, before, now string) {
	if now == "" {
		if o.redis.jumped.After(o.began) { // a jump may take a state's whole life
			return
		}
		o.broken(I5, "%s: its state is gone although Redis has kept its data", id)
		return
	}
	h, ok := readHead(now)
	if !ok {
		o.broken(I5, "%s: state cannot be read: %q", id, now)
		return
	}
	if h.ended() {
		key := outcomeKey{id, h.replay()}
		if _, known := o.redis.terminal[key]; !known {
			o.redis.terminal[key] = terminal{h.status, time.Now()}
		}
	}
	if before == "" {
		return
	}
	was, _ := readHead(before)
	switch {
	case was.ended() && was.replay() == h.replay() && was.status != h.status:
		o.broken(I3, "%s replay %d was %c and became %c", id, h.replay(), was.status, h.status)
	case h.order < was.order && (!h.ended() || h.order[:4] < was.order[:4]): // of what ended, the replay is enough
		o.broken(I5, "%s: went back from %s to %s", id, was.order, h.order)
	case h.allocation < was.allocation:
		o.broken(I5, "%s: allocation id went back from %s to %s", id, was.allocation, h.allocation)
	}
}

// judgeLease: a lease that is replaced without having been given back must have
// run out, and the token grows.
func (o *observer) judgeLease(id, before, now string) {
	if before == "" || now == "" {
		return
	}
	if token(now) <= token(before) {
		o.broken(I2, "%s: lease %q follows %q", id, now, before)
	}
}

func token(lease string) string { return lease[strings.LastIndexByte(lease, '|')+1:] }
