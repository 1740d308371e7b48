-- publish: notes that what a state owed was published, and wakes who waits.
--
-- KEYS  N states
-- ARGV  1 wake channel   2 length of a state key before its id
--       then per task: terminal 1, allocation id 2-15, order 16-29
-- returns per task
--       1            noted
--       0            the state is another one by now
--       !<message>   this one failed
local wakes, id_at = ARGV[1], tonumber(ARGV[2]) + 1
local V = call('MGET', unpack(KEYS))

local function publish(i)
  local state, mark = V[i], ARGV[2 + i]
  if not state then return '0' end
  check(state)
  if sub(state, 5, 18) ~= sub(mark, 2, 15) then return '0' end
  local terminal = sub(mark, 1, 1) == '1'
  if terminal ~= ended(sub(state, 2, 2)) then return '0' end
  local from, to = 16, terminal and 19 or 29 -- of what ended, the replay is enough
  if sub(state, from + 36, to + 36) ~= sub(mark, from, to) then return '0' end
  if sub(state, 3, 3) == '0' then
    call('SETRANGE', KEYS[i], 2, '1')
  end
  redis.pcall('PUBLISH', wakes, sub(KEYS[i], id_at))
  return '1'
end

local answers = {}
for i = 1, #KEYS do
  local ok, answer = pcall(publish, i)
  answers[i] = ok and answer or failure(answer)
end
return answers
