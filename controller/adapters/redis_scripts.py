"""The Lua scripts: each one atomic step, safe to run twice. Times are milliseconds of Redis' own clock.

Keys of every guarded script: 1 the lease, 2 the worker's hash. A guarded script's first argument is the holder; it
answers LOST and changes nothing when the lease is not that holder's.
"""

LOST = "lost"

_NOW = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
"""

_GUARD = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'lost'} end
"""

# The memory of a worker in one answer: the time, the hash as name/value pairs, the recommendations as name/score pairs.
_RECALL = """
local function recall(hash, past)
  return {'ok', string.format('%.0f', now), redis.call('HGETALL', hash), redis.call('ZRANGE', past, 0, -1)}
end
"""

# KEYS: lease, epoch. ARGV: holder, ttl, highest epoch that the caller has seen.
ACQUIRE = """
local current = redis.call('GET', KEYS[1])
local epoch = tonumber(redis.call('GET', KEYS[2]) or '0')
if current == ARGV[1] then
  -- an earlier acquire of this very attempt, whose answer was lost
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return epoch
end
if current then
  -- a lease without an end, or with one too far away (a clock that was set back), would lock everybody out
  local left = redis.call('PTTL', KEYS[1])
  if left < 0 or left > tonumber(ARGV[2]) * 10 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
  return 0
end
local seen = tonumber(ARGV[3])
if seen > epoch then redis.call('SET', KEYS[2], ARGV[3]) end
epoch = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
return epoch
"""

# KEYS: lease. ARGV: holder, ttl.
RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

# KEYS: lease. ARGV: holder.
RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""

# KEYS: lease, hash, recommendations. Reads only.
RECALL = (
    _NOW
    + _RECALL
    + """
return recall(KEYS[2], KEYS[3])
"""
)

# KEYS: lease, hash, recommendations. ARGV: holder, recommended, count, window, gap, a name for this reading.
# Stamps from the future (a clock that was set back, data from another host) are moved to the present: they then hold
# for one cooldown, and not until that future comes.
REMEMBER = (
    _NOW
    + _GUARD
    + _RECALL
    + """
local stamp = string.format('%.0f', now)
local stamps = {'last_up', 'last_down', 'since', 'unbroken_since', 'recommended_at', 'intent_at', 'refused_at'}
for _, field in ipairs(stamps) do
  local value = tonumber(redis.call('HGET', KEYS[2], field) or '0')
  if value > now then redis.call('HSET', KEYS[2], field, stamp) end
end
redis.call('HSETNX', KEYS[2], 'since', stamp)
redis.call('HSETNX', KEYS[2], 'count', ARGV[3])
local window, gap = tonumber(ARGV[4]), tonumber(ARGV[5])
local last = tonumber(redis.call('HGET', KEYS[2], 'recommended_at') or '0')
local known = tonumber(redis.call('HGET', KEYS[2], 'window') or '0')
if now - last > gap or window > known then redis.call('HSET', KEYS[2], 'unbroken_since', stamp) end
redis.call('HSET', KEYS[2], 'recommended_at', stamp, 'window', ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '(' .. stamp, '+inf')
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. string.format('%.0f', now - window - gap))
if window > 0 then
  redis.call('ZADD', KEYS[3], now, stamp .. ':' .. ARGV[2] .. ':' .. ARGV[6])
  redis.call('PEXPIRE', KEYS[3], string.format('%.0f', 2 * (window + gap)))
end
return recall(KEYS[2], KEYS[3])
"""
)

# KEYS: lease, hash. ARGV: holder, id, epoch, before, after, direction (up|down).
RECORD_INTENT = (
    _NOW
    + _GUARD
    + """
local stamp = string.format('%.0f', now)
local field = 'last_' .. ARGV[6]
redis.call('HSET', KEYS[2], 'intent', ARGV[2], 'intent_epoch', ARGV[3], 'intent_before', ARGV[4],
  'intent_after', ARGV[5], 'intent_at', stamp, 'intent_accepted', '0',
  'intent_previous', redis.call('HGET', KEYS[2], field) or '', field, stamp)
return {'ok', stamp}
"""
)

# KEYS: lease, hash. ARGV: holder, id, direction.
ACCEPT = (
    _NOW
    + _GUARD
    + """
if redis.call('HGET', KEYS[2], 'intent') == ARGV[2] then
  redis.call('HSET', KEYS[2], 'intent_accepted', '1', 'last_' .. ARGV[3], string.format('%.0f', now))
end
return {'ok'}
"""
)

# KEYS: lease, hash, recommendations. ARGV: holder, id, direction, outcome, count.
# What was never sent, or was refused, is no scale: it gives its cooldown back.
SETTLE = (
    _NOW
    + _GUARD
    + _RECALL
    + """
if redis.call('HGET', KEYS[2], 'intent') == ARGV[2] then
  local field = 'last_' .. ARGV[3]
  if ARGV[4] == 'never sent' or ARGV[4] == 'refused' then
    local previous = redis.call('HGET', KEYS[2], 'intent_previous')
    if previous and previous ~= '' then
      redis.call('HSET', KEYS[2], field, previous)
    else
      redis.call('HDEL', KEYS[2], field)
    end
  end
  if ARGV[4] == 'refused' then redis.call('HSET', KEYS[2], 'refused_at', string.format('%.0f', now)) end
  redis.call('HSET', KEYS[2], 'count', ARGV[5])
  redis.call('HDEL', KEYS[2], 'intent', 'intent_epoch', 'intent_before', 'intent_after', 'intent_at',
    'intent_accepted', 'intent_previous')
end
return recall(KEYS[2], KEYS[3])
"""
)

# KEYS: lease, hash, recommendations. ARGV: holder, count. Both cooldowns start: whoever did it had a reason.
CHARGE = (
    _NOW
    + _GUARD
    + _RECALL
    + """
local stamp = string.format('%.0f', now)
redis.call('HSET', KEYS[2], 'last_up', stamp, 'last_down', stamp, 'count', ARGV[2])
return recall(KEYS[2], KEYS[3])
"""
)

# KEYS: lease, cycles. ARGV: holder, ttl, then worker and cycle in turn. Replaces what was published before.
PUBLISH = (
    _GUARD
    + """
redis.call('DEL', KEYS[2])
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return {'ok'}
"""
)
