"""The Lua scripts: each one atomic step, safe to run twice. Times are milliseconds of Redis' own clock.

A guarded script's first key is the lease and its first argument what the lease must hold (`<epoch>:<holder>`); it
answers LOST and changes nothing when it does not. A worker's memory is a hash:

    memory, revision, run     its identity: set once; raised with each write; the server process that holds it
    raised                    how often a process wrote back a later stamp than the memory held
    last_up, last_down        stamps of the last scale in each direction; they only ever move later, except for one
                              that is restored because nothing was sent
    since                     when this memory began, or was last in doubt (data lost, rolled back, a server restarted)
    intent…                   a change that is recorded and not settled yet
    count                     the replicas last agreed with the platform
    refused_at, refused_to, setbacks    the last change that failed, and how many failed in a row
    intent_stops              `<intent>:<deployment>`: which deployment that intent stops
    start_up                  how long workers take to start, smoothed, in milliseconds
    queue_seen                the queue in which jobs were last seen, so that it is believed when it reads as empty
    start_at, start_before, start_after, start_seen    the scale-up that is being timed: when it was accepted, the
                              counts before and after, and the last reading that showed fewer running than that
    unseen_stop               the deployment whose stop was accepted but does not show yet
    recommended_at, unbroken_since, window    the chain of recommendations
    watch                     the service's conditions, as one text: see controller/core/watch.py
    read_at                   when the queue was read in a cycle that could not read the platform
    unread, unread_at         how many cycles in a row could not read the queue, and the last of them
    service, name             the owner: the service, and the worker's name when it was last written

An older version knows neither the last four lines nor `start_…` and `intent_stops`; it keeps them and uses the rest. So
they are written such that what an older version did meanwhile shows that they are out of date.
"""

from controller.core.text import bounds

LOST = "lost"
CHANGED = "changed"
EMPTY = "empty"

_NOW = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local stamp = string.format('%.0f', now)
"""

_GUARD = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'lost'} end
"""

# INFO may be denied; then a restart or failover of the server is noticed only by lost data.
_RUN = """
local function run()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
end
"""

_HASH = """
local function get(field) return redis.call('HGET', KEYS[2], field) end
local function number(field) return tonumber(get(field) or '0') or 0 end
local function raised_by_one(field) return string.format('%.0f', number(field) + 1) end
local function write(...) redis.call('HSET', KEYS[2], 'revision', raised_by_one('revision'), ...) end
"""

# A worker's whole memory in one answer: the time, the hash, the recommendations.
_RECALL = """
local function recall()
  return {'ok', stamp, redis.call('HGETALL', KEYS[2]), redis.call('ZRANGE', KEYS[3], 0, -1)}
end
"""

# Times one scale-up, from its acceptance until all requested replicas run: only if nothing else happened meanwhile, no
# reading is missing for longer than `gap`, and one of them showed fewer running.
_START = """
local function forget_start()
  redis.call('HDEL', KEYS[2], 'start_at', 'start_before', 'start_after', 'start_seen')
end
local function time_start(count, running, gap)
  local began, seen = number('start_at'), number('start_seen')
  if began == 0 then return end
  local before, after, took = number('start_before'), number('start_after'), now - began
  if took < 0 or took >= 600000 or now - math.max(began, seen) > gap or (count ~= before and count ~= after) then
    forget_start()
  elseif count ~= after or running < after then
    redis.call('HSET', KEYS[2], 'start_seen', stamp)
  else
    if seen > 0 then
      local old = tonumber(get('start_up') or '')
      redis.call('HSET', KEYS[2], 'start_up', string.format('%.0f', old and 0.7 * old + 0.3 * took or took))
    end
    forget_start()
  end
end
"""

# A process sends what it remembers, as ages in milliseconds ('' if unknown), with memory and revision. Stamps only move
# later. If the memory was written since, it is newer than what the process sends, and that is ignored. The slack of 50
# ms covers varying network delay. It raises `raised` and not the revision: a higher revision would hide from the next
# process that the memory, and an open intent with it, was rolled back.
_RAISE = """
local function is_news(hash, memory, revision)
  local known = redis.call('HMGET', hash, 'memory', 'revision')
  return known[1] ~= memory or (tonumber(known[2] or '') or 0) <= tonumber(revision)
end
local function raise(hash, field, age)
  if age == '' then return end
  local at = now - tonumber(age)
  if at <= (tonumber(redis.call('HGET', hash, field) or '0') or 0) + 50 then return end
  redis.call('HSET', hash, field, string.format('%.0f', at))
  local raised = tonumber(redis.call('HGET', hash, 'raised') or '') or 0
  redis.call('HSET', hash, 'raised', string.format('%.0f', raised + 1))
end
"""

# KEYS: lease, epoch, leader. ARGV: holder, ttl, highest epoch that the caller has seen, its own last holder, for how
# many ms another process may still trust a lease, whether to lead if nothing is known ('1').
# Returns {granted, epoch, ms to wait} or {'empty'}. A takeover raises the epoch by one. If data may have been lost, the
# epoch restarts at the time in seconds, which is higher than any epoch before.
ACQUIRE = (
    _NOW
    + _RUN
    + """
local ttl = tonumber(ARGV[2])
local current = redis.call('GET', KEYS[1])
local epoch = tonumber(redis.call('GET', KEYS[2]) or '0') or 0
local known = redis.call('HMGET', KEYS[3], 'holder', 'until', 'ttl', 'released', 'epoch', 'run')
local theirs = tonumber(known[3] or '') or ttl
-- a ttl outside these bounds was not written by us: ignore it
if not (theirs >= math.min(ttl, 1000) and theirs <= math.max(ttl, 600000)) then theirs = ttl end
if current then
  local held, holder = string.match(current, '^(%d+):(.*)$')
  if holder == ARGV[1] then
    -- an earlier acquire of this same attempt, whose answer was lost
    redis.call('HSET', KEYS[3], 'until', string.format('%.0f', now + ttl))
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return {1, held, ARGV[2]}
  end
  -- a lease without an end, or one too far away (a clock was set back), would keep every replica from leading
  local left = redis.call('PTTL', KEYS[1])
  if left < 0 or left > theirs then
    left = theirs
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', left))
  end
  return {0, string.format('%.0f', epoch), string.format('%.0f', left)}
end
-- if the lease vanished early (evicted, deleted, lost with the data), its holder still trusts it: wait until it ends
local left = 0
if known[1] and known[1] ~= ARGV[4] and known[4] ~= '1' then
  left = math.min(theirs, (tonumber(known[2] or '') or 0) - now)
end
local released = known[4] == '1' and (tonumber(known[5] or '') or 0) >= tonumber(ARGV[3])
if not released then left = math.max(left, tonumber(ARGV[5])) end
if left > 0 then
  -- an end that is too far away means that a clock was set back: limit it
  if known[1] then redis.call('HSET', KEYS[3], 'until', string.format('%.0f', now + left)) end
  return {0, string.format('%.0f', epoch), string.format('%.0f', left)}
end
local process = run()
if (epoch == 0 or known[6] ~= process) and ARGV[6] ~= '1' then return {'empty'} end
local least = epoch > 0 and known[6] == process and 0 or tonumber(t[1])
epoch = string.format('%.0f', math.max(epoch + 1, tonumber(ARGV[3]) + 1, least))
redis.call('SET', KEYS[2], epoch)
redis.call('HSET', KEYS[3], 'holder', ARGV[1], 'epoch', epoch, 'since', stamp, 'ttl', ARGV[2], 'released', '0',
  'run', process, 'until', string.format('%.0f', now + ttl))
redis.call('SET', KEYS[1], epoch .. ':' .. ARGV[1], 'PX', ARGV[2])
return {1, epoch, ARGV[2]}
"""
)

# KEYS: lease, epoch, leader. ARGV: epoch:holder, ttl. Never creates the lease anew, but restores what else was lost of
# it. Without the leader's hash, a successor would not know whom to wait for once the lease is evicted, too. With the
# run of another server process in it, each successor would first wait for a process that may remember more.
RENEW = (
    _NOW
    + _RUN
    + """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local epoch, holder = string.match(ARGV[1], '^(%d+):(.*)$')
if (tonumber(redis.call('GET', KEYS[2]) or '0') or 0) < tonumber(epoch) then redis.call('SET', KEYS[2], epoch) end
redis.call('HSETNX', KEYS[3], 'since', stamp)
redis.call('HSET', KEYS[3], 'holder', holder, 'epoch', epoch, 'ttl', ARGV[2], 'released', '0', 'run', run(),
  'until', string.format('%.0f', now + tonumber(ARGV[2])))
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
)

# KEYS: lease, leader. ARGV: epoch:holder.
RELEASE = (
    _NOW
    + """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[2], 'until', stamp, 'released', '1')
return redis.call('DEL', KEYS[1])
"""
)

# KEYS: leader, cycles, records, then the hash of each worker. ARGV: for each worker its service (or nothing), the name
# of its record, and what the caller remembers, as in REMEMBER: memory, revision, age of the last scale up, and down,
# count, and the open intent: id, epoch, before, after, age, accepted, what it stops. Not guarded by the lease: it can
# only move stamps later and restore what was lost, which makes every replica wait longer, never act sooner.
WATCH = (
    _NOW
    + _RAISE
    + """
local function give_back(hash, first)
  local service, record = ARGV[first - 2], ARGV[first - 1]
  local memory, revision = ARGV[first], ARGV[first + 1]
  local held = redis.call('HMGET', hash, 'memory', 'revision', 'intent', 'count')
  local emptied = not held[1]
  local rolled_back = held[1] == memory and tonumber(revision) > (tonumber(held[2] or '') or 0)
  if is_news(hash, memory, revision) then
    raise(hash, 'last_up', ARGV[first + 2])
    raise(hash, 'last_down', ARGV[first + 3])
  end
  if memory == '' then return end
  if service ~= '' then redis.pcall('HSETNX', KEYS[3], service, record) end
  if not (emptied or rolled_back) then return end
  if ARGV[first + 4] ~= '' and (rolled_back or not held[4]) then redis.call('HSET', hash, 'count', ARGV[first + 4]) end
  if ARGV[first + 5] ~= '' and (rolled_back or not held[3]) then
    redis.call('HSET', hash, 'intent', ARGV[first + 5], 'intent_epoch', ARGV[first + 6],
      'intent_before', ARGV[first + 7], 'intent_after', ARGV[first + 8],
      'intent_at', string.format('%.0f', now - tonumber(ARGV[first + 9])), 'intent_accepted', ARGV[first + 10],
      'intent_previous', '=')
    if ARGV[first + 11] ~= '' then redis.call('HSET', hash, 'intent_stops', ARGV[first + 11]) end
  end
  if rolled_back then
    redis.call('HSET', hash, 'since', stamp, 'revision', string.format('%.0f', tonumber(revision) + 1))
  end
end
-- '' instead of a hash if its key holds another type, so that the other keys can still be read
local function all(key)
  local found = redis.pcall('HGETALL', key)
  if not found.err then return found end
  return string.find(found.err, 'WRONGTYPE', 1, true) and '' or redis.call('HGETALL', key)
end
local hashes = {}
for i = 4, #KEYS do
  hashes[i - 3] = all(KEYS[i])
  if hashes[i - 3] ~= '' then
    give_back(KEYS[i], 14 * i - 53)
    hashes[i - 3] = all(KEYS[i])
  end
end
local published, bytes = all(KEYS[2]), 0
local shown = published == '' and '' or {}
for i = 1, #published, 2 do
  local size = #published[i] + #published[i + 1]
  if size <= """
    + str(bounds.PUBLISHED)
    + """ and bytes + size <= """
    + str(bounds.ALL_PUBLISHED)
    + """ then
    bytes = bytes + size
    shown[#shown + 1], shown[#shown + 2] = published[i], published[i + 1]
  end
end
return {stamp, all(KEYS[1]), shown, hashes}
"""
)

# KEYS: records, the hash under the worker's own name. ARGV: service. Returns the name of the service's record, and the
# service that owns the record under the worker's name; '' for unknown.
FIND = """
return {redis.call('HGET', KEYS[1], ARGV[1]) or '', redis.call('HGET', KEYS[2], 'service') or ''}
"""

# KEYS: lease, hash, recommendations. Only reads. If another server process wrote the memory (before a restart or a
# failover), it returns `since` and `run` as REMEMBER would write them.
RECALL = (
    _NOW
    + _RUN
    + _RECALL
    + """
local answer, process = recall(), run()
if #answer[3] > 0 and redis.call('HGET', KEYS[2], 'run') ~= process then
  for _, text in ipairs({'since', stamp, 'run', process}) do table.insert(answer[3], text) end
end
return answer
"""
)

# KEYS: lease, hash, recommendations, records. ARGV: lease, recommended (or nothing), count (or nothing: the platform
# was not read), window, gap, a name for this reading (and for a memory that begins here), whether jobs are in progress
# ('1'); then what this process remembers: memory, revision, age of the last scale up, and down, count, and the open
# intent: id, epoch, before, after, age, accepted, what it stops; how many run (or nothing), whether the queue was read
# ('1'); the service (or nothing), its record, its name; the queue in which it has seen jobs (or nothing).
# Stamps from the future (a clock that was set back, data from another host) are moved to the present: they then hold
# for one cooldown, and not until that future comes.
REMEMBER = (
    _NOW
    + _GUARD
    + _RUN
    + _HASH
    + _RECALL
    + _RAISE
    + _START
    + """
local memory, process = get('memory'), run()
local news = is_news(KEYS[2], ARGV[8], ARGV[9])
local rolled_back = memory == ARGV[8] and tonumber(ARGV[9]) > number('revision')
for _, field in ipairs({'last_up', 'last_down', 'since', 'unbroken_since', 'recommended_at', 'intent_at',
    'refused_at', 'read_at', 'unread_at'}) do
  if number(field) > now then write(field, stamp) end
end
local emptied = not memory
if emptied then write('memory', ARGV[6], 'since', stamp, 'run', process) end
if emptied or rolled_back then
  write('since', stamp)
  if ARGV[8] ~= '' then
    redis.call('HSET', KEYS[2], 'revision', string.format('%.0f', math.max(number('revision'), tonumber(ARGV[9])) + 1))
    if ARGV[12] ~= '' then write('count', ARGV[12]) end
    if ARGV[13] ~= '' then
      write('intent', ARGV[13], 'intent_epoch', ARGV[14], 'intent_before', ARGV[15], 'intent_after', ARGV[16],
        'intent_at', string.format('%.0f', now - tonumber(ARGV[17])), 'intent_accepted', ARGV[18])
      if ARGV[19] ~= '' then write('intent_stops', ARGV[19]) end
    elseif rolled_back then
      redis.call('HDEL', KEYS[2], 'intent', 'intent_epoch', 'intent_before', 'intent_after', 'intent_at',
        'intent_accepted', 'intent_previous', 'intent_stops')
    end
  end
elseif get('run') ~= process then
  -- another server process (a restart, a failover), perhaps with older data: what it lost is unknown
  write('run', process, 'since', stamp)
end
if news then
  raise(KEYS[2], 'last_up', ARGV[10])
  raise(KEYS[2], 'last_down', ARGV[11])
end
if ARGV[13] ~= '' and get('intent') == ARGV[13] then
  raise(KEYS[2], 'intent_at', ARGV[17])
  if get('intent_previous') == false then write('intent_previous', '=') end
end
if not get('since') then write('since', stamp) end
if ARGV[3] ~= '' and not get('count') then write('count', ARGV[3]) end
if ARGV[7] == '1' and get('unseen_stop') then redis.call('HDEL', KEYS[2], 'unseen_stop') end
if ARGV[3] ~= '' and ARGV[20] ~= '' then time_start(tonumber(ARGV[3]), tonumber(ARGV[20]), tonumber(ARGV[5])) end
if ARGV[22] ~= '' then
  redis.call('HSET', KEYS[2], 'service', ARGV[22], 'name', ARGV[24])
  redis.call('HSETNX', KEYS[4], ARGV[22], ARGV[23])
end
if ARGV[21] ~= '1' then
  -- an older version records its readings only as recommendations
  local last = number('unread_at')
  local goes_on = last > math.max(number('recommended_at'), number('read_at')) and now - last <= tonumber(ARGV[5])
  redis.call('HSET', KEYS[2], 'unread', goes_on and raised_by_one('unread') or '1', 'unread_at', stamp)
elseif ARGV[2] == '' then
  redis.call('HSET', KEYS[2], 'read_at', stamp)
end
if ARGV[25] ~= '' then redis.call('HSET', KEYS[2], 'queue_seen', ARGV[25]) end
if ARGV[2] ~= '' then
  local window, gap = tonumber(ARGV[4]), tonumber(ARGV[5])
  if now - number('recommended_at') > gap or window > number('window') then
    redis.call('HSET', KEYS[2], 'unbroken_since', stamp)
  end
  redis.call('HSET', KEYS[2], 'recommended_at', stamp, 'window', ARGV[4])
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '(' .. stamp, '+inf')
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. string.format('%.0f', now - window - gap))
  if window > 0 then
    redis.call('ZADD', KEYS[3], stamp, stamp .. ':' .. ARGV[2] .. ':' .. ARGV[6])
    redis.call('PEXPIRE', KEYS[3], string.format('%.0f', 2 * (window + gap)))
  end
end
return recall()
"""
)

# KEYS: lease, hash, recommendations. ARGV: lease, id, epoch, before, after, direction (up|down), and the version of
# the memory that the decision was made on: memory, revision, run, raised; then the deployment that is stopped (or
# nothing). It checks, starts the cooldown and records the intent in one step, or does nothing.
RECORD_INTENT = (
    _NOW
    + _GUARD
    + _RUN
    + _HASH
    + _RECALL
    + _START
    + """
if get('intent') ~= ARGV[2] then
  if get('memory') ~= ARGV[7] or get('revision') ~= ARGV[8] or get('run') ~= ARGV[9] or run() ~= ARGV[9]
      or (get('raised') or '') ~= ARGV[10] or get('intent') then
    return {'changed'}
  end
  local field = 'last_' .. ARGV[6]
  write('intent', ARGV[2], 'intent_epoch', ARGV[3], 'intent_before', ARGV[4], 'intent_after', ARGV[5],
    'intent_at', stamp, 'intent_accepted', '0', 'intent_previous', get(field) or '', field, stamp)
  redis.call('HDEL', KEYS[2], 'intent_stops')
  if ARGV[11] ~= '' then redis.call('HSET', KEYS[2], 'intent_stops', ARGV[2] .. ':' .. ARGV[11]) end
  forget_start()
end
return recall()
"""
)

# KEYS: lease, hash, recommendations. ARGV: lease, id, direction. The cooldown, and the start time of the new replicas,
# count from the platform's answer.
ACCEPT = (
    _NOW
    + _GUARD
    + _HASH
    + _RECALL
    + _START
    + """
if get('intent') == ARGV[2] then
  write('intent_accepted', '1', 'last_' .. ARGV[3], stamp)
  forget_start()
  if ARGV[3] == 'up' then
    redis.call('HSET', KEYS[2], 'start_at', stamp, 'start_before', get('intent_before'),
      'start_after', get('intent_after'))
  end
end
return recall()
"""
)

# KEYS: lease, hash, recommendations. ARGV: lease, id, direction, outcome, count, the deployment whose stop does not
# show yet, how many run (or nothing).
# A change that was never sent or was refused changed nothing: its cooldown is undone. A change that may have happened
# at any time since it was sent counts from now.
SETTLE = (
    _NOW
    + _GUARD
    + _HASH
    + _RECALL
    + _START
    + """
if get('intent') == ARGV[2] then
  local field, outcome = 'last_' .. ARGV[3], ARGV[4]
  write('count', ARGV[5])
  if outcome == 'never sent' or outcome == 'refused' then
    local previous = get('intent_previous')
    if previous == '' then redis.call('HDEL', KEYS[2], field)
    elseif previous and previous ~= '=' then write(field, previous) end
  elseif outcome == 'not honoured' or get('intent_accepted') ~= '1' then
    write(field, stamp)
  end
  if outcome == 'refused' or (outcome == 'not honoured' and get('intent_accepted') == '1') then
    write('refused_at', stamp, 'refused_to', get('intent_after'), 'setbacks', raised_by_one('setbacks'))
  elseif outcome == 'applied' then
    redis.call('HDEL', KEYS[2], 'refused_at', 'refused_to', 'setbacks')
  end
  if ARGV[6] ~= '' then write('unseen_stop', ARGV[6]) end
  if ARGV[7] ~= '' then time_start(tonumber(ARGV[5]), tonumber(ARGV[7]), math.huge) end
  redis.call('HDEL', KEYS[2], 'intent', 'intent_epoch', 'intent_before', 'intent_after', 'intent_at',
    'intent_accepted', 'intent_previous', 'intent_stops')
end
return recall()
"""
)

# KEYS: lease, hash, recommendations. ARGV: lease, count. A change from outside starts both cooldowns: it was made for a
# reason, and must not be undone at once.
RECORD_EXTERNAL_CHANGE = (
    _NOW
    + _GUARD
    + _HASH
    + _RECALL
    + _START
    + """
forget_start()
write('last_up', stamp, 'last_down', stamp, 'count', ARGV[2])
return recall()
"""
)

# KEYS: lease, hash. ARGV: lease, text. Does not raise the revision, so that a decision made on this memory stays valid.
# Writes nothing if the memory was lost meanwhile.
KEEP_WATCH = (
    _GUARD
    + """
if redis.call('HGET', KEYS[2], 'memory') then redis.call('HSET', KEYS[2], 'watch', ARGV[2]) end
return {'ok'}
"""
)

# KEYS: lease, leader, cycles. ARGV: lease, ttl, then worker and cycle in turn. Replaces what was published before.
PUBLISH = (
    _NOW
    + _GUARD
    + """
redis.call('DEL', KEYS[3])
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[3], ARGV[2])
redis.call('HSET', KEYS[2], 'published', stamp)
return {'ok'}
"""
)
