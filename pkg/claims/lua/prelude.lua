-- Stands before every script. A state is one string: a head of 95 bytes that
-- scripts read, then a body that they copy unread (state.go, head.go).
--
--     1     format, '1'
--     2     status, '1' UNASSIGNED '2' ASSIGNED '3' ACTIVE '4' SUCCESS '5' FAILED '6' CANCELLED
--     3     published, '1' when nothing is owed
--     4     cancel requested, '1'
--     5-18  allocation id of the newest claim or of what settled the task
--    19-32  at, the last transition, ms
--    33-34  lost claims
--    35-36  interrupted runs of this attempt
--    37-50  allocation id of the last claim that was counted as lost
--    51     reason, '-' for none
--    52-65  order: replay (4), attempt (4), hop (6)
--    66-81  params hash, 16 hex digits
--    82-95  not-before, ms
--    96-    body
--
-- Numbers are decimal with leading zeros, so that strings of one field compare
-- like the numbers. Arithmetic wants tonumber: the Lua of miniredis takes a
-- leading zero for octal. Arguments carry 52 to the end in the same form
-- ("blob": order 1-14, hash 15-30, not-before 31-44, body 45-).
local call, sub, format = redis.call, string.sub, string.format
local ZERO, NOHASH = '00000000000000', '0000000000000000'
local TIME = call('TIME')
local now = TIME[1] * 1000 + math.floor(TIME[2] / 1000)
local now14 = format('%014.0f', now)

-- A copy of a record may come as long as this after its not-before.
local COPY_MS = 12 * 3600 * 1000

-- next_id is the allocation id after one: tokens grow even when the clock does not.
local function next_id(id)
  if id < now14 then return now14 end
  return format('%014.0f', tonumber(id) + 1)
end

-- check refuses a state that another version wrote.
local function check(state)
  if sub(state, 1, 1) ~= '1' or #state < 95 then
    error({err = 'state of an unknown format'})
  end
end

-- ended tells whether a status is terminal.
local function ended(status) return status >= '4' end

-- life is how long a terminal state is kept, in ms.
local function life(retention, not_before)
  local ms = tonumber(retention)
  if not_before ~= ZERO then
    local copies = tonumber(not_before) - now + COPY_MS
    if copies > ms then ms = copies end
  end
  return ms
end

-- banned tells whether one of the states is an ancestor that failed or is cancelled.
local function banned(states, first, count)
  for i = first, first + count - 1 do
    local state = states[i]
    local status = state and sub(state, 2, 2)
    if state and status ~= '4' and (status >= '5' or sub(state, 4, 4) == '1') then return true end
  end
  return false
end

-- failure is the answer '!<message>' for one task.
local function failure(e)
  if type(e) == 'table' then e = e.err end
  return '!' .. tostring(e)
end

-- An epoch key: 'w' warm or 'm' marked cold (1), run id of the server (2-41),
-- last touched, ms (42-55), nonce of the rebuild (56-).
local NORUN = '----------------------------------------'

-- run_id names this life of the server; NORUN where INFO is refused.
local function run_id()
  local info = redis.pcall('INFO', 'server')
  if type(info) ~= 'string' then return NORUN end
  local id = string.match(info, 'run_id:(%x+)')
  if not id or #id ~= 40 then return NORUN end
  return id
end

-- is_cold tells whether the server may have forgotten the bucket.
local function is_cold(epoch, run)
  if not epoch or sub(epoch, 1, 1) ~= 'w' then return true end
  local then_run = sub(epoch, 2, 41)
  return then_run ~= run and run ~= NORUN and then_run ~= NORUN
end
