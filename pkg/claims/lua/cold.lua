-- cold: tells which buckets the server may have forgotten.
--
-- KEYS  epochs
-- returns  per epoch '' when it is warm, else when it was last touched (ms, 14
--       digits; zeros when the key is gone)
local V, run, answers = call('MGET', unpack(KEYS)), run_id(), {}
for i = 1, #KEYS do
  answers[i] = ''
  if is_cold(V[i], run) then answers[i] = V[i] and sub(V[i], 42, 55) or ZERO end
end
return answers
