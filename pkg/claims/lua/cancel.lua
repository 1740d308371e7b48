-- cancel: ends a task that does not run, or asks the one that does to end.
--
-- KEYS  1 epoch   2 lease   3 state
-- ARGV  1 retention ms   2 wake channel   3 id   4 blob for a state that is absent
-- returns  one of
--       d<state>     CANCELLED and not known to be published: publish it
--       r<state>     requested
--       t<state>     it had ended
--       c            cold
local retention, wakes, id, blob = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local V = call('MGET', unpack(KEYS))
if is_cold(V[1], run_id()) then return 'c' end
local lease, state = V[2], V[3]
if state then
  check(state)
  local status = sub(state, 2, 2)
  if status == '6' and sub(state, 3, 3) == '0' then return 'd' .. state end
  if ended(status) then return 't' .. state end
  if lease or status ~= '1' then
    call('SETRANGE', KEYS[3], 3, '1')
    redis.pcall('PUBLISH', wakes, id)
    return 'r' .. sub(state, 1, 3) .. '1' .. sub(state, 5)
  end
  blob = sub(state, 52)
  state = '1601' .. next_id(sub(state, 5, 18)) .. now14 .. sub(state, 33, 50) .. '-' .. blob
elseif lease then -- it runs, and its next beat writes the state again
  state = '1111' .. ZERO .. now14 .. '0000' .. ZERO .. '-' .. blob
  call('SET', KEYS[3], state)
  redis.pcall('PUBLISH', wakes, id)
  return 'r' .. state
else
  state = '1601' .. now14 .. now14 .. '0000' .. ZERO .. '-' .. blob
end
call('SET', KEYS[3], state, 'PX', life(retention, sub(blob, 31, 44)))
return 'd' .. state
