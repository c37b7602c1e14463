-- Extends a lease that is still held; 0 if it is not. Never creates it anew, but restores what else was lost of it:
-- without the leader's hash, a successor would not know whom to wait for once the lease is evicted, too. With the run
-- of another server process in it, each successor would first wait for a process that may remember more.
local lease_key, epoch_key, leader_key = unpack(KEYS)
local lease, ttl = unpack(ARGV)

if redis.call('GET', lease_key) ~= lease then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local info = redis.pcall('INFO', 'server')
local server = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''

local epoch, holder = string.match(lease, '^(%d+):(.*)$')
if (tonumber(redis.call('GET', epoch_key) or '0') or 0) < tonumber(epoch) then redis.call('SET', epoch_key, epoch) end
redis.call('HSETNX', leader_key, 'since', string.format('%.0f', now))
redis.call('HSET', leader_key, 'holder', holder, 'epoch', epoch, 'ttl', ttl, 'released', '0', 'run', server,
  'until', string.format('%.0f', now + tonumber(ttl)))
return redis.call('PEXPIRE', lease_key, ttl)
