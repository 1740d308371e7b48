-- claim: judges and grants claims.
--
-- KEYS  E epoch keys; N leases; N states; M states of ancestors; E indexes of failures
-- ARGV  1 claimant|nonce|   2 lease ms   3 beat ms   4 retention ms   5 max lost
--       6 length of a state key before its id   7 E   8 N   9 M
--       then E counts: how many of the tasks, in order, belong to each epoch
--       then per task: blob, options ('' or: look 1, deadline 2-15, reason of a
--       burial 16, index of the first ancestor 17-20, number of ancestors 21-23)
-- returns  now (ms), then per task
--       c            cold
--       x            conflict
--       g            granted; allocation id = now
--       G<state>     granted; the state has the allocation id and what went before
--       h<ms>        held; ask again after so long
--       o<state>     owed
--       s            settled
--       p            superseded
--       e<ms>        early by so much
--       f            free (look)
--       !<message>   this one failed
local who, lease_ms, beat_ms, retention = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local max_lost, id_at = tonumber(ARGV[5]), tonumber(ARGV[6]) + 1
local E, N, M = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local base = 9 + E
local V = call('MGET', unpack(KEYS, 1, E + 2 * N + M))
local run, cold, bucket = run_id(), true, 0
local fresh = '1210' .. now14 .. now14 .. '0000' .. ZERO .. '-'
local writes, W, granted = {}, 0, {}

local function put(i, state)
  writes[W + 1], writes[W + 2] = KEYS[E + N + i], state
  W = W + 2
  granted[W / 2] = i
end

local function held(i)
  local left = call('PTTL', KEYS[E + i])
  if left < 0 or left > tonumber(lease_ms) then
    call('PEXPIRE', KEYS[E + i], lease_ms)
    left = lease_ms
  end
  return 'h' .. left
end

local function owed(state)
  local rest = tonumber(sub(state, 19, 32)) + beat_ms - now
  if rest > 0 then return 'h' .. format('%.0f', rest) end
  return 'o' .. state
end

local function claim(i)
  if cold then return 'c' end
  local lease, state = V[E + i], V[E + N + i]
  local blob, options = ARGV[base + 2 * i - 1], ARGV[base + 2 * i]
  if not lease and not state and options == '' then
    call('SET', KEYS[E + i], who .. now14, 'PX', lease_ms)
    put(i, fresh .. blob)
    return 'g'
  end

  local order, hash, not_before = sub(blob, 1, 14), sub(blob, 15, 30), sub(blob, 31, 44)
  local look, deadline, buried, ban = false, ZERO, '-', false
  if options ~= '' then
    look, deadline, buried = sub(options, 1, 1) == '1', sub(options, 2, 15), sub(options, 16, 16)
    ban = banned(V, E + 2 * N + tonumber(sub(options, 17, 20)), tonumber(sub(options, 21, 23)))
  end
  local status, id, s_order, s_hash = '1', ZERO, ZERO, NOHASH
  if state then
    check(state)
    status, id, s_order, s_hash = sub(state, 2, 2), sub(state, 5, 18), sub(state, 52, 65), sub(state, 66, 81)
    if hash ~= s_hash and hash ~= NOHASH and s_hash ~= NOHASH and sub(order, 1, 4) == sub(s_order, 1, 4) then
      return 'x'
    end
  end
  if lease then
    if sub(lease, 1, #who) ~= who then
      if state and order < s_order and sub(state, 3, 3) == '1' then return 'p' end
      return held(i)
    end
    if state and sub(lease, -14) == id and (status == '2' or status == '3') then return 'G' .. state end
    call('DEL', KEYS[E + i]) -- the first call was cut short before it wrote the state
  end

  local anew = false
  if state then
    local replay, s_replay, published = sub(order, 1, 4), sub(s_order, 1, 4), sub(state, 3, 3) == '1'
    if replay < s_replay then return 'p' end
    if replay > s_replay then
      if not ended(status) then return 'h' .. lease_ms end
      if not published then return owed(state) end
      anew = true
    elseif ended(status) then
      if not published then return owed(state) end
      return 's'
    elseif order < s_order then
      if not published then return owed(state) end
      return 'p'
    end
  end

  local lost, interrupted, counted, cancel, body = 0, '00', ZERO, '0', nil
  if state and not anew then
    lost, cancel, counted = tonumber(sub(state, 33, 34)), sub(state, 4, 4), sub(state, 37, 50)
    if status ~= '1' then -- the last holder vanished without an outcome
      if lost < 99 then lost = lost + 1 end
      counted = id
    end
    if sub(order, 1, 8) == sub(s_order, 1, 8) then interrupted = sub(state, 35, 36) end
    if hash == NOHASH then hash = s_hash end
    if id ~= ZERO and buried == '-' then body = sub(state, 96) end
  end
  if not body then body = sub(blob, 45) end
  local counts = format('%02d', lost) .. interrupted .. counted

  local final, reason
  if buried ~= '-' then final, reason = '5', buried
  elseif cancel == '1' or ban then final, reason = '6', '-'
  elseif deadline ~= ZERO and deadline < now14 then final, reason = '5', 'e'
  elseif lost >= max_lost then final, reason = '5', 'w'
  end
  if not final and not_before > now14 then return 'e' .. format('%.0f', tonumber(not_before) - now) end
  if look then return 'f' end
  local token = next_id(id)
  if final then
    state = '1' .. final .. '0' .. cancel .. token .. now14 .. counts .. reason .. order .. hash .. not_before .. body
    local ms = life(retention, not_before)
    call('SET', KEYS[E + N + i], state, 'PX', ms)
    if final == '5' then
      local failed = KEYS[E + 2 * N + M + bucket]
      redis.pcall('ZADD', failed, now + ms, sub(KEYS[E + N + i], id_at))
      redis.pcall('ZREMRANGEBYSCORE', failed, '-inf', now)
    end
    return 'o' .. state
  end
  call('SET', KEYS[E + i], who .. token, 'PX', lease_ms)
  state = '121' .. cancel .. token .. now14 .. counts .. '-' .. order .. hash .. not_before .. body
  put(i, state)
  if id == ZERO then return 'g' end
  return 'G' .. state
end

local answers, i = {now14}, 0
for b = 1, E do
  bucket, cold = b, is_cold(V[b], run)
  for _ = 1, tonumber(ARGV[9 + b]) do
    i = i + 1
    local ok, answer = pcall(claim, i)
    answers[i + 1] = ok and answer or failure(answer)
  end
end
if W > 0 then
  local done = redis.pcall('MSET', unpack(writes, 1, W))
  if type(done) == 'table' and done.err then
    for g = 1, W / 2 do answers[granted[g] + 1] = failure(done) end
  end
end
return answers
