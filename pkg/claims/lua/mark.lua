-- mark: signs cold buckets with the nonce of a rebuild.
--
-- KEYS  epochs
-- ARGV  1 nonce
-- returns  how many
local V, run, marked = call('MGET', unpack(KEYS)), run_id(), 0
for i = 1, #KEYS do
  if is_cold(V[i], run) then
    local touched = V[i] and sub(V[i], 42, 55) or ZERO
    call('SET', KEYS[i], 'm' .. run .. touched .. ARGV[1])
    marked = marked + 1
  end
end
return marked
