-- warm: opens the buckets that still bear the nonce, on the server that bore it.
--
-- KEYS  epochs
-- ARGV  1 nonce
-- returns  how many are warm by this nonce, now or by an earlier call
local V, run, warmed = call('MGET', unpack(KEYS)), run_id(), 0
for i = 1, #KEYS do
  local epoch = V[i]
  if epoch and sub(epoch, 56) == ARGV[1] and sub(epoch, 2, 41) == run then
    call('SET', KEYS[i], 'w' .. run .. now14 .. ARGV[1])
    warmed = warmed + 1
  end
end
return warmed
