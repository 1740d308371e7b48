-- register: writes a node's entry.
--
-- KEYS  1 the node's entry   2 index of nodes by the end of their lease
-- ARGV  1 id   2 entry   3 lease ms
-- returns  1
call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
return 1
