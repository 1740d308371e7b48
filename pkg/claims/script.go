package claims

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/prelude.lua
var prelude string

var (
	//go:embed lua/claim.lua
	luaClaim string
	//go:embed lua/beat.lua
	luaBeat string
	//go:embed lua/settle.lua
	luaSettle string
	//go:embed lua/hop.lua
	luaHop string
	//go:embed lua/publish.lua
	luaPublish string
	//go:embed lua/submit.lua
	luaSubmit string
	//go:embed lua/cancel.lua
	luaCancel string
	//go:embed lua/restore.lua
	luaRestore string
	//go:embed lua/cold.lua
	luaCold string
	//go:embed lua/mark.lua
	luaMark string
	//go:embed lua/warm.lua
	luaWarm string
	//go:embed lua/lock.lua
	luaLock string
	//go:embed lua/register.lua
	luaRegister string
)

// script is one Lua source behind the common prelude.
type script struct{ source, sha string }

var scripts []script

func newScript(name, lua string) script {
	source := mutated("prelude", prelude) + "\n" + mutated(name, lua)
	s := script{source: source, sha: redis.NewScript(source).Hash()}
	scripts = append(scripts, s)
	return s
}

var (
	scriptClaim    = newScript("claim", luaClaim)
	scriptBeat     = newScript("beat", luaBeat)
	scriptSettle   = newScript("settle", luaSettle)
	scriptHop      = newScript("hop", luaHop)
	scriptPublish  = newScript("publish", luaPublish)
	scriptSubmit   = newScript("submit", luaSubmit)
	scriptCancel   = newScript("cancel", luaCancel)
	scriptRestore  = newScript("restore", luaRestore)
	scriptCold     = newScript("cold", luaCold)
	scriptMark     = newScript("mark", luaMark)
	scriptWarm     = newScript("warm", luaWarm)
	scriptLock     = newScript("lock", luaLock)
	scriptRegister = newScript("register", luaRegister)
)

// scriptCall is one call of a script.
type scriptCall struct {
	script script
	keys   []string
	args   []any
}

// reply is what one call returned: any of the shapes of go-redis.
type reply struct {
	value any
	err   error
}

// run makes the calls and returns a reply for each.
func (s *Store) run(ctx context.Context, calls ...scriptCall) []reply {
	replies := make([]reply, len(calls))
	masters := s.byMaster(ctx, calls)
	if len(masters) == 1 {
		s.pipeline(ctx, calls, replies, masters[0])
		return replies
	}
	var wait sync.WaitGroup
	for _, index := range masters {
		wait.Go(func() { s.pipeline(ctx, calls, replies, index) })
	}
	wait.Wait()
	return replies
}

// byMaster divides calls by the server that has their keys. One pipeline over
// several masters would not do: when the context ends while go-redis retries
// what one master did not answer, it overwrites what all the others did.
func (s *Store) byMaster(ctx context.Context, calls []scriptCall) [][]int {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok || len(calls) < 2 {
		all := make([]int, len(calls))
		for i := range all {
			all[i] = i
		}
		return [][]int{all}
	}
	place := make(map[*redis.Client]int)
	var masters [][]int
	for i, c := range calls {
		master, _ := cluster.MasterForKey(ctx, c.keys[0]) // nil is a place too: its pipeline has the error
		n, ok := place[master]
		if !ok {
			n = len(masters)
			place[master] = n
			masters = append(masters, nil)
		}
		masters[n] = append(masters[n], i)
	}
	return masters
}

// pipeline makes some of the calls, in order. A script that a server does not
// know (it is new, or was flushed) is sent again whole: go-redis does that for
// no pipeline.
func (s *Store) pipeline(ctx context.Context, calls []scriptCall, replies []reply, index []int) {
	cmds := make([]*redis.Cmd, len(index))
	if len(index) == 1 {
		c := calls[index[0]]
		cmds[0] = s.client.EvalSha(ctx, c.script.sha, c.keys, c.args...)
	} else {
		pipe := s.client.Pipeline()
		for n, i := range index {
			cmds[n] = pipe.EvalSha(ctx, calls[i].script.sha, calls[i].keys, calls[i].args...)
		}
		_, _ = pipe.Exec(ctx) // each command has its own error
	}
	for n, i := range index {
		cmd := cmds[n]
		if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
			cmd = s.client.Eval(ctx, calls[i].script.source, calls[i].keys, calls[i].args...)
		}
		replies[i].value, replies[i].err = cmd.Result()
	}
}

// texts reads a reply that is a list of n strings.
func (r reply) texts(n int) ([]string, error) {
	if r.err != nil {
		return nil, r.err
	}
	list, ok := r.value.([]any)
	if !ok || len(list) != n {
		return nil, fmt.Errorf("redis answered %T instead of a list of %d", r.value, n)
	}
	texts := make([]string, n)
	for i, v := range list {
		if texts[i], ok = v.(string); !ok {
			return nil, fmt.Errorf("redis answered %T instead of a string", v)
		}
	}
	return texts, nil
}

func (r reply) number() (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, ok := r.value.(int64)
	if !ok {
		return 0, fmt.Errorf("redis answered %T instead of a number", r.value)
	}
	return int(n), nil
}

// errAnswer is the error of one task in a script's answer, "!<message>".
func errAnswer(text string) error {
	return errors.New("redis: " + strings.TrimPrefix(text, "!"))
}
