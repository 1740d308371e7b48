-- restore: writes outcomes that were read back from the results topic.
--
-- KEYS  N states; others (indexes of failures)
-- ARGV  1 retention ms   2 length of a state key before its id   3 N
--       then per task: status 1, reason 2, allocation id 3-16, at 17-30, index of
--       failures 31-34 (among KEYS), blob 35-
-- returns per task
--       1            written, or marked as published
--       0            what is there is newer, or had ended
--       !<message>   this one failed
local retention, id_at, N = ARGV[1], tonumber(ARGV[2]) + 1, tonumber(ARGV[3])
local V = call('MGET', unpack(KEYS, 1, N))

local function restore(i)
  local state, arg = V[i], ARGV[3 + i]
  local id, blob, keep = sub(arg, 3, 16), sub(arg, 35), '0000' .. ZERO
  if state then
    check(state)
    local replay, s_replay, s_id = sub(blob, 1, 4), sub(state, 52, 55), sub(state, 5, 18)
    if s_replay > replay then return '0' end
    if s_replay == replay then
      if ended(sub(state, 2, 2)) then
        if s_id ~= id or sub(state, 3, 3) == '1' then return '0' end
        call('SETRANGE', KEYS[i], 2, '1')
        return '1'
      end
      if sub(state, 52, 59) > sub(blob, 1, 8) then return '0' end
      keep = sub(state, 33, 50)
      blob = sub(blob, 1, 14) .. sub(state, 66, 95) .. sub(blob, 45)
    end
    if s_id > id then id = s_id end
  end
  local new = '1' .. sub(arg, 1, 1) .. '10' .. id .. sub(arg, 17, 30) .. keep .. sub(arg, 2, 2) .. blob
  local ms = life(retention, sub(blob, 31, 44))
  call('SET', KEYS[i], new, 'PX', ms)
  if sub(arg, 1, 1) == '5' then
    redis.pcall('ZADD', KEYS[tonumber(sub(arg, 31, 34))], now + ms, sub(KEYS[i], id_at))
  end
  return '1'
end

local answers = {}
for i = 1, N do
  local ok, answer = pcall(restore, i)
  answers[i] = ok and answer or failure(answer)
end
return answers
