//go:build mutants

package claims

import (
	"fmt"
	"strings"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
)

// edit replaces a part of a script that is there exactly once.
type edit struct{ script, from, to string }

// mutants break one rule each. Those of claim.lua stand in the order of its answers.
var mutants = map[string][]edit{
	"claims while cold":                  {{"claim", `if cold then return 'c' end`, ``}},
	"no conflict":                        {{"claim", `if hash ~= s_hash and`, `if false and`}},
	"conflict after owed":                {{"claim", `if hash ~= s_hash and`, `if not ended(status) and hash ~= s_hash and`}},
	"no nonce":                           {{"claim", `if sub(lease, 1, #who) ~= who then`, `if true then`}},
	"a claimant has one lease":           {{"claim", `if sub(lease, 1, #who) ~= who then`, `if string.match(lease, '^[^|]*') ~= string.match(who, '^[^|]*') then`}},
	"a lease is no obstacle":             {{"claim", `if sub(lease, 1, #who) ~= who then`, `if false then`}},
	"older copies of what runs wait":     {{"claim", `if state and order < s_order and sub(state, 3, 3) == '1' then return 'p' end`, ``}},
	"superseded by what is owed":         {{"claim", `if state and order < s_order and sub(state, 3, 3) == '1' then return 'p' end`, `if state and order < s_order then return 'p' end`}},
	"leases end when they like":          {{"claim", `if left < 0 or left > tonumber(lease_ms) then`, `if false then`}},
	"an older replay runs":               {{"claim", `if replay < s_replay then return 'p' end`, ``}},
	"a replay overtakes what runs":       {{"claim", `if not ended(status) then return 'h' .. lease_ms end`, ``}},
	"anew while owed":                    {{"claim", "if not published then return owed(state) end\n      anew = true", `anew = true`}},
	"what has ended is not owed":         {{"claim", "if not published then return owed(state) end\n      return 's'", `return 's'`}},
	"superseded before owed":             {{"claim", "if not published then return owed(state) end\n      return 'p'", `return 'p'`}},
	"superseded records run":             {{"claim", `elseif order < s_order then`, `elseif false then`}},
	"what has ended runs again":          {{"claim", `elseif ended(status) then`, `elseif false then`}},
	"owed at once":                       {{"claim", `if rest > 0 then`, `if false then`}},
	"vanished holders are not counted":   {{"claim", `if lost < 99 then lost = lost + 1 end`, ``}},
	"no claim cap":                       {{"claim", `elseif lost >= max_lost then`, `elseif false then`}},
	"cancelled tasks run":                {{"claim", `elseif cancel == '1' or ban then`, `elseif ban then`}},
	"banned descendants run":             {{"claim", `elseif cancel == '1' or ban then`, `elseif cancel == '1' then`}},
	"a replay inherits the cancellation": {{"claim", `if state and not anew then`, `if state then`}},
	"expired tasks run":                  {{"claim", `elseif deadline ~= ZERO and deadline < now14 then`, `elseif false then`}},
	"early tasks run":                    {{"claim", `if not final and not_before > now14 then`, `if false then`}},
	"a look takes the task":              {{"claim", `if look then return 'f' end`, ``}},
	"checkpoints are not handed on":      {{"claim", `if id ~= ZERO and buried == '-' then body = sub(state, 96) end`, ``}},
	"what a claim settles has an old id": {{"claim", `state = '1' .. final .. '0' .. cancel .. token`, `state = '1' .. final .. '0' .. cancel .. id`}},
	"a newer record raises nothing":      {{"claim", `.. counts .. '-' .. order .. hash`, `.. counts .. '-' .. (state and s_order or order) .. hash`}},

	"tokens repeat":            {{"prelude", `return format('%014.0f', tonumber(id) + 1)`, `return id`}},
	"restarts go unnoticed":    {{"prelude", `return then_run ~= run and run ~= NORUN and then_run ~= NORUN`, `return false`}},
	"missing epochs are warm":  {{"prelude", `if not epoch or sub(epoch, 1, 1) ~= 'w' then return true end`, `if not epoch then return false end`}},
	"bans end at the parent":   {{"prelude", `for i = first, first + count - 1 do`, `for i = first + count - 1, first + count - 1 do`}},
	"states die before copies": {{"prelude", `if copies > ms then ms = copies end`, ``}},

	"renews without owner check":          {{"beat", `if lease and lease ~= mine then return lost(i, state, id) end`, ``}},
	"puts back any lease":                 {{"beat", `if not known and (s_id ~= ZERO or status ~= '1') then`, `if false then`}},
	"beats put nothing back":              {{"beat", `call('SET', KEYS[E + i], mine, 'PX', lease_ms)`, `return lost(i, state, id)`}},
	"beats do not renew":                  {{"beat", `call('PEXPIRE', KEYS[E + i], lease_ms)`, ``}},
	"beats keep a lease of what ended":    {{"beat", `if lease then call('DEL', KEYS[E + i]) end`, ``}},
	"beats forget hops":                   {{"beat", `if sub(state, 52, 65) > order then order = sub(state, 52, 65) end`, ``}},
	"a living holder stays counted":       {{"beat", `if count > 0 then`, `if false then`}},
	"checkpoints do not reset the count":  {{"beat", `(reset and '00' .. sub(state, 35, 36) .. ZERO or sub(state, 33, 50))`, `sub(state, 33, 50)`}},
	"beats keep no report":                {{"beat", `(given and sub(blob, 45) or sub(state, 96))`, `sub(state, 96)`}},
	"running tasks are not told to end":   {{"beat", `return cancel == '1' and 'x' or 'k'`, `return 'k'`}},
	"running descendants are not told":    {{"beat", `if ban then cancel = '1' end`, ``}},
	"beats mark what a hop owes":          {{"beat", `published = sub(state, 3, 3)`, ``}},
	"beats touch what is cold":            {{"beat", `if not is_cold(V[b], run) and now`, `if V[b] and now`}},
	"deletes a lease without owner check": {{"settle", `if V[i] and V[i] == ARGV[2 + 3 * i] then`, `if V[i] then`}},
	"no settlement is stale":              {{"settle", `if lease and lease ~= mine then return 'z' end`, ``}},
	"settles over a newer claim":          {{"settle", `elseif s_id ~= ZERO or s_status ~= '1' then`, `elseif false then`}},
	"settlements cannot be repeated":      {{"settle", `if s_status ~= '2' and s_status ~= '3' then return 'd' .. s_status end`, `if s_status ~= '2' and s_status ~= '3' then return 'z' end`}},
	"an old claim settles what is gone":   {{"settle", `if forgotten and not lease and not fresh then return 'z' end`, ``}},
	"a failure beats a cancellation":      {{"settle", `local cancelled = cancel == '1' and status ~= '4'`, `local cancelled = false`}},
	"a cancellation beats a success":      {{"settle", `local cancelled = cancel == '1' and status ~= '4'`, `local cancelled = cancel == '1'`}},
	"waiting counts as interrupted":       {{"settle", `elseif interrupted == 'w' then`, `elseif interrupted == 'w' and false then`}},
	"an interruption forgets a hop":       {{"settle", "elseif interrupted == '1' then\n    published = state and sub(state, 3, 3) or '1'", "elseif interrupted == '1' then\n    published = '1'"}},
	"settlements owe nothing":             {{"settle", `local published, reason`, `local published, reason = '1', '-'; local _, reason`}},
	"orders go back":                      {{"settle", `if order ~= s_order and (cancelled or order < s_order) then`, `if false then`}},
	"children die before their root":      {{"settle", `if root > 0 then ms = child_life(ms, root) end`, ``}},
	"settlements wake nobody":             {{"settle", `redis.pcall('PUBLISH', wakes, sub(KEYS[N + i], id_at))`, ``}},

	"hops keep their number":       {{"hop", `return sub(order, 1, 8) .. format('%06d', hop)`, `return order`}},
	"hops while cold":              {{"hop", `if cold then return 'c' end`, ``}},
	"hops without the lease":       {{"hop", `if mine ~= '' and lease ~= mine then return 'p' end`, ``}},
	"a replay that waits hops":     {{"hop", `if sub(order, 1, 4) > sub(s_order, 1, 4) then return 'n' .. sub(raised, 9) end`, ``}},
	"what has ended hops":          {{"hop", `if ended(sub(state, 2, 2)) then return 'p' end`, ``}},
	"copies multiply":              {{"hop", "if order < s_order then\n", "if false then\n"}},
	"a hop is repeated under none": {{"hop", `if raised == s_order and sub(state, 3, 3) == '0' then`, `if false then`}},
	"hops owe nothing":             {{"hop", `local head = sub(state, 1, 2) .. '0'`, `local head = sub(state, 1, 2) .. '1'`}},

	"marks name any claim":  {{"publish", `if sub(state, 5, 18) ~= sub(mark, 2, 15) then return '0' end`, ``}},
	"marks name any status": {{"publish", `if terminal ~= ended(sub(state, 2, 2)) then return '0' end`, ``}},
	"marks name any hop":    {{"publish", `if sub(state, from + 36, to + 36) ~= sub(mark, from, to) then return '0' end`, ``}},
	"marks wake nobody":     {{"publish", `redis.pcall('PUBLISH', wakes, sub(KEYS[i], id_at))`, ``}},

	"the last outcome read back wins":     {{"restore", `if s_id ~= id or sub(state, 3, 3) == '1' then return '0' end`, ``}, {"restore", "call('SETRANGE', KEYS[i], 2, '1')\n        return '1'", ``}},
	"an older replay is read back":        {{"restore", `if s_replay > replay then return '0' end`, ``}},
	"an older attempt is read back":       {{"restore", `if sub(state, 52, 59) > sub(blob, 1, 8) then return '0' end`, ``}},
	"what is read back is owed":           {{"restore", `local new = '1' .. sub(arg, 1, 1) .. '10'`, `local new = '1' .. sub(arg, 1, 1) .. '00'`}},
	"what is read back lowers the id":     {{"restore", `if s_id > id then id = s_id end`, ``}},
	"any rebuild warms":                   {{"warm", `if epoch and sub(epoch, 56) == ARGV[1] and`, `if epoch and`}},
	"what is warm is marked":              {{"mark", `if is_cold(V[i], run) then`, `if true then`}},
	"anybody renews a lock":               {{"lock", `if call('GET', KEYS[1]) ~= ARGV[1] then return 0 end`, ``}},
	"twins are submitted":                 {{"submit", `if replay == s_replay and hash ~= s_hash and`, `if false and`}},
	"a replay is submitted while owed":    {{"submit", `if not over or sub(state, 3, 3) == '0' then return 'y' end`, `if not over then return 'y' end`}},
	"a replay is submitted while it runs": {{"submit", `if not over or sub(state, 3, 3) == '0' then return 'y' end`, `if over and sub(state, 3, 3) == '0' then return 'y' end`}},
	"a replay begins with a new id":       {{"submit", `return put(i, '1110' .. sub(state, 5, 18) .. now14`, `return put(i, '1110' .. ZERO .. now14`}},
	"cancels while cold":                  {{"cancel", `if is_cold(V[1], run_id()) then return 'c' end`, ``}},
	"a cancellation ends what runs":       {{"cancel", `if lease or status ~= '1' then`, `if false then`}},
	"a cancellation changes an outcome":   {{"cancel", `if ended(status) then return 't' .. state end`, ``}},
	"a cancellation owes nothing":         {{"cancel", "  blob = sub(state, 52)\n  state = '1601'", "  blob = sub(state, 52)\n  state = '1611'"}},
}

// mutated is the script with the rule broken that the environment names.
// Every edit must find its place, whether it is wanted or not.
func mutated(name, lua string) string {
	result := lua
	for rule, edits := range mutants {
		for _, e := range edits {
			if e.script != name {
				continue
			}
			if n := strings.Count(lua, e.from); n != 1 {
				panic(fmt.Sprintf("mutant %q: its place is %d times in %s.lua: %s", rule, n, name, e.from))
			}
			if mutant.On(rule) {
				result = strings.Replace(result, e.from, e.to, 1)
			}
		}
	}
	return result
}
