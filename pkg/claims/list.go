package claims

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Filter chooses states; a zero field chooses all.
type Filter struct {
	Type     string
	Statuses []task.Status
	Node     string
	// OlderThan and YoungerThan compare the time since the last transition.
	OlderThan, YoungerThan time.Duration
}

const (
	// scanKeys is how many keys one SCAN looks at: about half a millisecond of Redis.
	scanKeys = 1000
	// peekBytes of a state are read to filter it: the head, and a body that
	// begins with the type. Most states are no longer.
	peekBytes = 1024
)

// List returns about limit states that match, in no order, and the cursor of
// the next page: "" after the last, and to begin. A page may be empty and yet
// have a next one. A task that changes meanwhile may be listed twice.
//
// Tasks that run, and those that failed, are found through indexes: a task
// shows among those that run with its first beat. Everything else is found by
// looking at every key, a thousand at a time: complete, never long in Redis'
// way, and some seconds for a million tasks.
func (s *Store) List(ctx context.Context, filter Filter, cursor string, limit int) (states []*State, next string, err error) {
	at, err := s.parseCursor(filter, cursor)
	if err != nil {
		return nil, "", err
	}
	for {
		page, err := s.listSome(ctx, &filter, &at, max(limit-len(states), 1))
		if err != nil {
			return nil, "", fmt.Errorf("list tasks: %w", err)
		}
		states = append(states, page...)
		if at.done {
			return states, "", nil
		}
		if len(states) >= limit {
			return states, at.String(), nil
		}
		if err := ctx.Err(); err != nil {
			return nil, "", err
		}
	}
}

// place is where a listing goes on: in the index of a bucket, or in the keys
// of a master.
type place struct {
	index  string // "running", "failed", or "scan"
	part   int    // bucket, or number of the master
	master string // its address: masters may have changed since the last page
	cursor uint64 // of ZSCAN or SCAN
	done   bool
}

func (p place) String() string {
	return fmt.Sprintf("%s/%d/%d/%s", p.index, p.part, p.cursor, p.master)
}

func (s *Store) parseCursor(filter Filter, cursor string) (place, error) {
	if cursor == "" {
		return place{index: filter.index()}, nil
	}
	parts := strings.SplitN(cursor, "/", 4)
	if len(parts) != 4 || parts[0] != filter.index() {
		return place{}, fmt.Errorf("%w: cursor %q is not of this listing", ErrInvalid, cursor)
	}
	part, err1 := strconv.Atoi(parts[1])
	at, err2 := strconv.ParseUint(parts[2], 10, 64)
	if err1 != nil || err2 != nil || part < 0 || part > 1<<16 {
		return place{}, fmt.Errorf("%w: cursor %q", ErrInvalid, cursor)
	}
	return place{index: parts[0], part: part, cursor: at, master: parts[3]}, nil
}

// index names what finds the tasks that a filter asks for.
func (f *Filter) index() string {
	only := func(statuses ...task.Status) bool {
		return len(f.Statuses) > 0 && !slices.ContainsFunc(f.Statuses, func(s task.Status) bool { return !slices.Contains(statuses, s) })
	}
	switch {
	case only(task.Assigned, task.Active):
		return "running"
	case only(task.Failed):
		return "failed"
	default:
		return "scan"
	}
}

// listSome goes one step: one part of an index, or one SCAN.
func (s *Store) listSome(ctx context.Context, filter *Filter, at *place, limit int) ([]*State, error) {
	var ids []string
	var err error
	if at.index == "scan" {
		ids, err = s.scan(ctx, filter, at)
	} else {
		ids, err = s.scanIndex(ctx, at, limit)
	}
	if err != nil {
		return nil, err
	}
	found, err := s.States(ctx, ids)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return slices.DeleteFunc(found, func(st *State) bool { return st == nil || !filter.match(st, now) }), nil
}

func (f *Filter) match(st *State, now time.Time) bool {
	age := now.Sub(st.At)
	switch {
	case f.Type != "" && f.Type != st.Type,
		f.Node != "" && f.Node != st.Node && f.Node != st.Holder,
		len(f.Statuses) > 0 && !slices.Contains(f.Statuses, st.Status),
		f.OlderThan > 0 && age < f.OlderThan,
		f.YoungerThan > 0 && age >= f.YoungerThan:
		return false
	}
	return true
}

// scanIndex reads ids from the indexes, bucket after bucket.
func (s *Store) scanIndex(ctx context.Context, at *place, limit int) (ids []string, err error) {
	for at.part < Buckets && len(ids) < limit {
		key := s.keys.running(at.part)
		if at.index == "failed" {
			key = s.keys.failed(at.part)
		}
		members, next, err := s.client.ZScan(ctx, key, at.cursor, "", scanKeys).Result()
		if err != nil {
			return nil, err
		}
		for i := 0; i < len(members); i += 2 { // member, score
			ids = append(ids, members[i])
		}
		if at.cursor = next; next == 0 {
			at.part++
		}
	}
	at.done = at.part >= Buckets
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// scan looks at the next keys of one master and returns the ids of the states
// that may match.
func (s *Store) scan(ctx context.Context, filter *Filter, at *place) ([]string, error) {
	masters, err := s.masters(ctx)
	if err != nil {
		return nil, err
	}
	if at.part >= len(masters) {
		at.done = true
		return nil, nil
	}
	master := masters[at.part]
	if at.master != "" && at.master != master.Options().Addr {
		return nil, fmt.Errorf("%w: the cluster has changed since the last page: list again", ErrInvalid)
	}
	found, next, err := master.Scan(ctx, at.cursor, s.keys.stateGlob(), scanKeys).Result()
	if err != nil {
		return nil, err
	}
	at.cursor, at.master = next, master.Options().Addr
	if next == 0 {
		at.part++
		at.master = ""
		at.done = at.part == len(masters)
	}
	slices.Sort(found)
	return s.peek(ctx, master, filter, slices.Compact(found))
}

// peek reads the start of states, so that a listing of few among many neither
// moves nor decodes checkpoints that nobody asked for.
func (s *Store) peek(ctx context.Context, master *redis.Client, filter *Filter, found []string) (ids []string, err error) {
	if len(found) == 0 {
		return nil, nil
	}
	pipe := master.Pipeline()
	reads := make([]*redis.StringCmd, len(found))
	for i, key := range found {
		reads[i] = pipe.GetRange(ctx, key, 0, peekBytes-1)
	}
	if _, err := pipe.Exec(ctx); err != nil && !movedAway(err) {
		return nil, err
	}
	start := `{"type":"` + filter.Type + `"`
	for i, read := range reads {
		id := found[i][s.keys.idAt():]
		raw, err := read.Result()
		if movedAway(err) { // its slot moves: the whole read finds it
			ids = append(ids, id)
			continue
		}
		st, err := decodeHead(id, raw)
		if err != nil {
			continue // gone meanwhile, or of another version
		}
		if len(filter.Statuses) > 0 && !slices.Contains(filter.Statuses, st.Status) {
			continue
		}
		if filter.Type == "" || strings.HasPrefix(raw[headBytes:], start) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// movedAway tells whether a master says that another one has the key.
func movedAway(err error) bool {
	return err != nil && (redis.HasErrorPrefix(err, "MOVED") || redis.HasErrorPrefix(err, "ASK"))
}

// masters are the servers that take writes, in the order of their addresses.
func (s *Store) masters(ctx context.Context) ([]*redis.Client, error) {
	found := make(chan *redis.Client, 1024)
	err := s.eachMaster(ctx, func(_ context.Context, server *redis.Client) error {
		select {
		case found <- server:
			return nil
		default:
			return errors.New("more than 1024 masters")
		}
	})
	close(found)
	var masters []*redis.Client
	for m := range found {
		masters = append(masters, m)
	}
	slices.SortFunc(masters, func(a, b *redis.Client) int { return strings.Compare(a.Options().Addr, b.Options().Addr) })
	return masters, err
}
