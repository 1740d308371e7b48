-- beat: renews claims, keeps what their runs report, and touches the epochs.
--
-- KEYS  E epoch keys; N leases; N states; M states of ancestors; E indexes of what runs
-- ARGV  1 lease ms   2 length of a state key before its id   3 E   4 N   5 M
--       then E counts: how many of the tasks, in order, belong to each epoch
--       then per task: lease value, options (active 1, reset 2, body given 3,
--       index of the first ancestor 4-7, number of ancestors 8-10), blob
-- returns per task
--       k            kept
--       x            kept; cancel it
--       l            lost
--       !<message>   this one failed: neither kept nor lost
local lease_ms, id_at = ARGV[1], tonumber(ARGV[2]) + 1
local E, N, M = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local base = 5 + E
local V = call('MGET', unpack(KEYS, 1, E + 2 * N + M))
local writes, W = {}, 0

local function put(i, state)
  writes[W + 1], writes[W + 2] = KEYS[E + N + i], state
  W = W + 2
end

-- lost takes the holder's own count back where it is the last one counted: it
-- has not vanished.
local function lost(i, state, id)
  if state and sub(state, 37, 50) == id and not ended(sub(state, 2, 2)) then
    local count = tonumber(sub(state, 33, 34))
    if count > 0 then
      redis.pcall('SETRANGE', KEYS[E + N + i], 32, format('%02d', count - 1) .. sub(state, 35, 36) .. ZERO)
    end
  end
  return 'l'
end

local function beat(i)
  local lease, state = V[E + i], V[E + N + i]
  local mine, options, blob = ARGV[base + 3 * i - 2], ARGV[base + 3 * i - 1], ARGV[base + 3 * i]
  local id = sub(mine, -14)
  if lease and lease ~= mine then return lost(i, state, id) end
  local known = false -- the state shows our claim, and it is running
  if state then
    check(state)
    local s_id, status = sub(state, 5, 18), sub(state, 2, 2)
    known = s_id == id and (status == '2' or status == '3')
    if not known and (s_id ~= ZERO or status ~= '1') then
      if lease then call('DEL', KEYS[E + i]) end
      return lost(i, state, id)
    end
  end

  if lease then
    call('PEXPIRE', KEYS[E + i], lease_ms)
  else
    call('SET', KEYS[E + i], mine, 'PX', lease_ms)
  end
  local active, reset, given = sub(options, 1, 1) == '1', sub(options, 2, 2) == '1', sub(options, 3, 3) == '1'
  local cancel, status = '0', active and '3' or '2'
  if state then cancel = sub(state, 4, 4) end
  local ban = cancel == '0' and banned(V, E + 2 * N + tonumber(sub(options, 4, 7)), tonumber(sub(options, 8, 10)))
  if ban then cancel = '1' end
  if known then
    local was = sub(state, 2, 2)
    if was == '3' then status = was end
    if given or reset or ban or status ~= was then
      put(i, '1' .. status .. sub(state, 3, 3) .. cancel .. id
        .. (status == was and sub(state, 19, 32) or now14)
        .. (reset and '00' .. sub(state, 35, 36) .. ZERO or sub(state, 33, 50))
        .. sub(state, 51, 95) .. (given and sub(blob, 45) or sub(state, 96)))
    end
  else -- Redis forgot it; somebody who does not run it may have written it since
    local order, published = sub(blob, 1, 14), '1'
    if state then
      published = sub(state, 3, 3)
      if sub(state, 52, 65) > order then order = sub(state, 52, 65) end
    end
    put(i, '1' .. status .. published .. cancel .. id .. now14 .. '0000' .. ZERO .. '-' .. order .. sub(blob, 15))
  end
  return cancel == '1' and 'x' or 'k'
end

local run = run_id()
local answers, i = {}, 0
for b = 1, E do
  local members = {}
  for _ = 1, tonumber(ARGV[5 + b]) do
    i = i + 1
    local ok, answer = pcall(beat, i)
    answers[i] = ok and answer or failure(answer)
    if answers[i] == 'k' or answers[i] == 'x' then
      members[#members + 1] = now
      members[#members + 1] = sub(KEYS[E + N + i], id_at)
    end
  end
  local running = KEYS[E + 2 * N + M + b]
  if #members > 0 then redis.pcall('ZADD', running, unpack(members)) end
  redis.pcall('ZREMRANGEBYSCORE', running, '-inf', now - 2 * lease_ms)
  if not is_cold(V[b], run) and now - tonumber(sub(V[b], 42, 55)) >= 1000 then
    redis.pcall('SETRANGE', KEYS[b], 41, now14)
  end
end
-- The leases are renewed: a server without room for what the runs reported
-- costs their reports only.
if W > 0 then redis.pcall('MSET', unpack(writes, 1, W)) end
return answers
