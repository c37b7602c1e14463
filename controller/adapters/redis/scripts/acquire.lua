-- Takes the lease if it is free, or if this holder has it already.
--
-- seen_epoch: the highest epoch that the caller has seen. last_holder: its own last holder id. patience: for how many
-- ms another process may still trust a lease. of_nothing: '1' to lead even if Redis knows no leader at all.
-- Returns {granted, epoch, ms to wait} or {'empty'}. A takeover raises the epoch by one. If data may have been lost,
-- the epoch restarts at the time in seconds, which is higher than any epoch before.
local lease_key, epoch_key, leader_key = unpack(KEYS)
local holder, ttl_text, seen_epoch, last_holder, patience, of_nothing = unpack(ARGV)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- INFO may be denied; then a restart or failover of the server is noticed only by lost data.
local info = redis.pcall('INFO', 'server')
local server = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
local function whole(number) return string.format('%.0f', number) end

local ttl = tonumber(ttl_text)
local current = redis.call('GET', lease_key)
local epoch = tonumber(redis.call('GET', epoch_key) or '0') or 0
local known = redis.call('HMGET', leader_key, 'holder', 'until', 'ttl', 'released', 'epoch', 'run')
local known_holder, known_until, known_ttl = known[1], tonumber(known[2] or '') or 0, tonumber(known[3] or '') or ttl
local known_released, known_epoch, known_run = known[4] == '1', tonumber(known[5] or '') or 0, known[6]
-- a ttl outside these bounds was not written by us: ignore it
if not (known_ttl >= math.min(ttl, 1000) and known_ttl <= math.max(ttl, 600000)) then known_ttl = ttl end

if current then
  local held_epoch, held_by = string.match(current, '^(%d+):(.*)$')
  if held_by == holder then
    -- an earlier acquire of this same attempt, whose answer was lost
    redis.call('HSET', leader_key, 'until', whole(now + ttl))
    redis.call('PEXPIRE', lease_key, ttl_text)
    return {1, held_epoch, ttl_text}
  end
  -- a lease without an end, or one too far away (a clock was set back), would keep every replica from leading
  local left = redis.call('PTTL', lease_key)
  if left < 0 or left > known_ttl then
    left = known_ttl
    redis.call('PEXPIRE', lease_key, whole(left))
  end
  return {0, whole(epoch), whole(left)}
end

-- if the lease vanished early (evicted, deleted, lost with the data), its holder still trusts it: wait until it ends
local left = 0
if known_holder and known_holder ~= last_holder and not known_released then
  left = math.min(known_ttl, known_until - now)
end
if not (known_released and known_epoch >= tonumber(seen_epoch)) then left = math.max(left, tonumber(patience)) end
if left > 0 then
  -- an end that is too far away means that a clock was set back: limit it
  if known_holder then redis.call('HSET', leader_key, 'until', whole(now + left)) end
  return {0, whole(epoch), whole(left)}
end

local same_server = known_run == server
if (epoch == 0 or not same_server) and of_nothing ~= '1' then return {'empty'} end
local least = epoch > 0 and same_server and 0 or tonumber(time[1])
epoch = whole(math.max(epoch + 1, tonumber(seen_epoch) + 1, least))
redis.call('SET', epoch_key, epoch)
redis.call('HSET', leader_key, 'holder', holder, 'epoch', epoch, 'since', whole(now), 'ttl', ttl_text,
  'released', '0', 'run', server, 'until', whole(now + ttl))
redis.call('SET', lease_key, epoch .. ':' .. holder, 'PX', ttl_text)
return {1, epoch, ttl_text}
