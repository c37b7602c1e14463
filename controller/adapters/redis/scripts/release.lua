-- Gives the lease back, if it is still held.
local lease_key, leader_key = unpack(KEYS)
local lease = unpack(ARGV)

if redis.call('GET', lease_key) ~= lease then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', leader_key, 'until', string.format('%.0f', now), 'released', '1')
return redis.call('DEL', lease_key)
