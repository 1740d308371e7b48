-- settle: ends claims. The leases go first, which works without free memory too.
--
-- KEYS  N leases; N states; others (indexes of failures, states of roots)
-- ARGV  1 retention ms   2 wake channel   3 length of a state key before its id   4 N
--       then per task: lease value, options (status 1, interrupted 2: '1', or 'w' for
--       children, which does not count; fresh 3,
--       wake 4, reason 5, index of failures 6-9, state of the root 10-13;
--       both among KEYS, 0 for none), blob of the state that results
-- returns per task
--       d<status>    done, now or by an earlier call; the status that results
--       z            stale
--       !<message>   this one failed; its lease is released
local retention, wakes, id_at, N = ARGV[1], ARGV[2], tonumber(ARGV[3]) + 1, tonumber(ARGV[4])
local V = call('MGET', unpack(KEYS))
local writes, W, written = {}, 0, {}
local KEEP = '0000' .. ZERO

local function put(i, state)
  writes[W + 1], writes[W + 2] = KEYS[N + i], state
  W = W + 2
  written[W / 2] = i
end

-- child_life lets a child's state live as long as its root's, and thirty times
-- the retention while the root has not ended.
local function child_life(ms, root)
  if not V[root] then return ms end
  if not ended(sub(V[root], 2, 2)) then return math.max(ms, 30 * retention) end
  return math.max(ms, call('PTTL', KEYS[root]))
end

local function settle(i)
  local mine, options, blob = ARGV[2 + 3 * i], ARGV[3 + 3 * i], ARGV[4 + 3 * i]
  local lease, state, id = V[i], V[N + i], sub(mine, -14)
  if lease and lease ~= mine then return 'z' end
  local status, fresh = sub(options, 1, 1), sub(options, 3, 3) == '1'
  local keep, cancel, s_order = KEEP, '0', nil
  local forgotten = true
  if state then
    check(state)
    local s_id, s_status = sub(state, 5, 18), sub(state, 2, 2)
    if s_id == id then
      if s_status ~= '2' and s_status ~= '3' then return 'd' .. s_status end
      forgotten = false
    elseif s_id ~= ZERO or s_status ~= '1' then
      return 'z'
    end
    keep, cancel, s_order = sub(state, 33, 50), sub(state, 4, 4), sub(state, 52, 65)
  end
  if forgotten and not lease and not fresh then return 'z' end

  local published, reason, interrupted = '0', sub(options, 5, 5), sub(options, 2, 2)
  local cancelled = cancel == '1' and status ~= '4'
  if cancelled then
    status, reason = '6', '-'
  elseif interrupted == 'w' then
    published = state and sub(state, 3, 3) or '1'
  elseif interrupted == '1' then
    published = state and sub(state, 3, 3) or '1'
    local runs = tonumber(sub(keep, 3, 4)) + 1
    keep = sub(keep, 1, 2) .. format('%02d', runs > 99 and 99 or runs) .. sub(keep, 5)
  elseif status == '1' then
    keep = sub(keep, 1, 2) .. '00' .. sub(keep, 5)
  end
  if s_order then
    local order = sub(blob, 1, 14)
    if order ~= s_order and (cancelled or order < s_order) then blob = s_order .. sub(blob, 15) end
    if sub(blob, 15, 30) == NOHASH then blob = sub(blob, 1, 14) .. sub(state, 66, 81) .. sub(blob, 31) end
  end

  local new = '1' .. status .. published .. cancel .. id .. now14 .. keep .. reason .. blob
  if not ended(status) then
    put(i, new)
    return 'd' .. status
  end
  local ms, root = life(retention, sub(blob, 31, 44)), tonumber(sub(options, 10, 13))
  if root > 0 then ms = child_life(ms, root) end
  call('SET', KEYS[N + i], new, 'PX', ms)
  if status == '5' then
    local failed = KEYS[tonumber(sub(options, 6, 9))]
    redis.pcall('ZADD', failed, now + ms, sub(KEYS[N + i], id_at))
    redis.pcall('ZREMRANGEBYSCORE', failed, '-inf', now)
  end
  return 'd' .. status
end

local ours, O = {}, 0
for i = 1, N do
  if V[i] and V[i] == ARGV[2 + 3 * i] then
    O = O + 1
    ours[O] = KEYS[i]
  end
end
if O > 0 then call('DEL', unpack(ours, 1, O)) end
local answers = {}
for i = 1, N do
  local ok, answer = pcall(settle, i)
  answers[i] = ok and answer or failure(answer)
end
if W > 0 then
  local done = redis.pcall('MSET', unpack(writes, 1, W))
  if type(done) == 'table' and done.err then
    for w = 1, W / 2 do answers[written[w]] = failure(done) end
  end
end
for i = 1, N do
  if sub(ARGV[3 + 3 * i], 4, 4) == '1' and sub(answers[i], 1, 1) == 'd' then
    redis.pcall('PUBLISH', wakes, sub(KEYS[N + i], id_at))
  end
end
return answers
