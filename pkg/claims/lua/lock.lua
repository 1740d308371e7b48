-- lock: renews or releases a lock, such as the right to rebuild.
--
-- KEYS  1 lock
-- ARGV  1 its value   2 lease ms, or 0 to release
-- returns  1 when it was ours, else 0
if call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return call('DEL', KEYS[1]) end
return call('PEXPIRE', KEYS[1], ARGV[2])
