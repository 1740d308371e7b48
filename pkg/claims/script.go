package claims

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

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

func newScript(lua string) script {
	source := prelude + "\n" + lua
	s := script{source: source, sha: redis.NewScript(source).Hash()}
	scripts = append(scripts, s)
	return s
}

var (
	scriptClaim    = newScript(luaClaim)
	scriptBeat     = newScript(luaBeat)
	scriptSettle   = newScript(luaSettle)
	scriptHop      = newScript(luaHop)
	scriptPublish  = newScript(luaPublish)
	scriptSubmit   = newScript(luaSubmit)
	scriptCancel   = newScript(luaCancel)
	scriptRestore  = newScript(luaRestore)
	scriptCold     = newScript(luaCold)
	scriptMark     = newScript(luaMark)
	scriptWarm     = newScript(luaWarm)
	scriptLock     = newScript(luaLock)
	scriptRegister = newScript(luaRegister)
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

// run makes the calls, pipelined when there are several, and returns a reply
// for each. A script that a server does not know (it is new, or was flushed)
// is sent again whole: go-redis does that for no pipeline.
func (s *Store) run(ctx context.Context, calls ...scriptCall) []reply {
	cmds := make([]*redis.Cmd, len(calls))
	if len(calls) == 1 {
		cmds[0] = s.client.EvalSha(ctx, calls[0].script.sha, calls[0].keys, calls[0].args...)
	} else {
		pipe := s.client.Pipeline()
		for i, c := range calls {
			cmds[i] = pipe.EvalSha(ctx, c.script.sha, c.keys, c.args...)
		}
		_, _ = pipe.Exec(ctx) // each command has its own error
	}
	replies := make([]reply, len(calls))
	for i, cmd := range cmds {
		if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
			c := calls[i]
			cmd = s.client.Eval(ctx, c.script.source, c.keys, c.args...)
		}
		replies[i].value, replies[i].err = cmd.Result()
	}
	return replies
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
