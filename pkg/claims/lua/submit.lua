-- submit: creates the states of tasks that Kafka has accepted.
--
-- KEYS  N states
-- ARGV  per task: blob
-- returns per task
--       n            created, or made anew at a higher replay
--       y            exists, not ended
--       t            exists and ended
--       x            conflict
--       !<message>   this one failed
local V = call('MGET', unpack(KEYS))
local writes, W, written = {}, 0, {}

local function put(i, state)
  writes[W + 1], writes[W + 2] = KEYS[i], state
  W = W + 2
  written[W / 2] = i
  return 'n'
end

local function submit(i)
  local state, blob = V[i], ARGV[i]
  if not state then
    return put(i, '1110' .. ZERO .. now14 .. '0000' .. ZERO .. '-' .. blob)
  end
  check(state)
  local over, hash, s_hash = ended(sub(state, 2, 2)), sub(blob, 15, 30), sub(state, 66, 81)
  local replay, s_replay = sub(blob, 1, 4), sub(state, 52, 55)
  if replay > s_replay then
    if not over or sub(state, 3, 3) == '0' then return 'y' end -- its claim does it
    return put(i, '1110' .. sub(state, 5, 18) .. now14 .. '0000' .. ZERO .. '-' .. blob)
  end
  if replay == s_replay and hash ~= s_hash and hash ~= NOHASH and s_hash ~= NOHASH then return 'x' end
  if over or replay < s_replay then return 't' end
  return 'y'
end

local answers = {}
for i = 1, #KEYS do
  local ok, answer = pcall(submit, i)
  answers[i] = ok and answer or failure(answer)
end
if W > 0 then
  local done = redis.pcall('MSET', unpack(writes, 1, W))
  if type(done) == 'table' and done.err then
    for w = 1, W / 2 do answers[written[w]] = failure(done) end
  end
end
return answers
