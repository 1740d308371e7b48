-- hop: raises hop numbers before records are published with them.
--
-- KEYS  E epoch keys; N leases; N states
-- ARGV  1 E   2 N   then E counts: how many of the tasks, in order, belong to each epoch
--       then per task: lease value of the holder or '', blob of the record
-- returns per task
--       n<hop, 6 digits><state>   publish with this number; the state, nothing when it has no place for the number
--       p                         superseded: ask for a claim
--       c                         cold
--       !<message>                this one failed
local E, N = tonumber(ARGV[1]), tonumber(ARGV[2])
local base = 2 + E
local V = call('MGET', unpack(KEYS))
local cold = true

-- raise returns the order with the next hop.
local function raise(order)
  local hop = tonumber(sub(order, 9, 14)) + 1
  if hop > 999999 then error({err = 'no hop number is left'}) end
  return sub(order, 1, 8) .. format('%06d', hop)
end

local function hop(i)
  if cold then return 'c' end
  local lease, state = V[E + i], V[E + N + i]
  local mine, blob = ARGV[base + 2 * i - 1], ARGV[base + 2 * i]
  local order = sub(blob, 1, 14)
  local raised = raise(order)
  if mine ~= '' and lease ~= mine then return 'p' end
  if not state then
    local status, id = '1', ZERO
    if mine ~= '' then status, id = '2', sub(mine, -14) end
    state = '1' .. status .. '00' .. id .. now14 .. '0000' .. ZERO .. '-' .. raised .. sub(blob, 15)
    call('SET', KEYS[E + N + i], state)
    return 'n' .. sub(raised, 9) .. state
  end
  check(state)
  local s_order = sub(state, 52, 65)
  -- A higher replay waits for a lower one: the state has no place for its number.
  if sub(order, 1, 4) > sub(s_order, 1, 4) then return 'n' .. sub(raised, 9) end
  if ended(sub(state, 2, 2)) then return 'p' end
  if order < s_order then
    if raised == s_order and sub(state, 3, 3) == '0' then return 'n' .. sub(raised, 9) .. state end
    return 'p'
  end
  local at = lease and sub(state, 19, 32) or now14 -- a copy of what runs is no transition of it
  local head = sub(state, 1, 2) .. '0' .. sub(state, 4, 18) .. at .. sub(state, 33, 51) .. raised
  call('SETRANGE', KEYS[E + N + i], 0, head)
  return 'n' .. sub(raised, 9) .. state
end

local run, answers, i = run_id(), {}, 0
for b = 1, E do
  cold = is_cold(V[b], run)
  for _ = 1, tonumber(ARGV[2 + b]) do
    i = i + 1
    local ok, answer = pcall(hop, i)
    answers[i] = ok and answer or failure(answer)
  end
end
return answers
