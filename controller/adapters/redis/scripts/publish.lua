-- Replaces the last cycles that the standby shows, if the lease is held; {'lost'} if it is not.
-- lease: '<epoch>:<holder>'. ttl: how long they are kept, in ms. Then worker and cycle in turn.
local lease_key, leader_key, cycles_key = unpack(KEYS)
local lease, ttl = unpack(ARGV, 1, 2)

if redis.call('GET', lease_key) ~= lease then return {'lost'} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('DEL', cycles_key)
for place = 3, #ARGV, 2 do redis.call('HSET', cycles_key, ARGV[place], ARGV[place + 1]) end
redis.call('PEXPIRE', cycles_key, ttl)
redis.call('HSET', leader_key, 'published', string.format('%.0f', now))
return {'ok'}
