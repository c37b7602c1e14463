"""The version before's own code for the journal, without what no test needs: to deploy it, and back.

It keeps the recommendations in a sorted set, and every rule of the history in its scripts.
"""

from __future__ import annotations

import uuid
from typing import Any

from redis.asyncio import Redis

from controller.adapters.redis.keys import Keys, value_of
from controller.core.model import Change, Lease

_NOW = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local stamp = string.format('%.0f', now)
"""

_GUARD = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'lost'} end
"""

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

_RECALL = """
local function recall()
  return {'ok', stamp, redis.call('HGETALL', KEYS[2]), redis.call('ZRANGE', KEYS[3], 0, -1)}
end
"""

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

_REMEMBER = (
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
elseif get('run') ~= process then
  write('run', process, 'since', stamp)
end
if news then
  raise(KEYS[2], 'last_up', ARGV[10])
  raise(KEYS[2], 'last_down', ARGV[11])
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

_RECORD_INTENT = (
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

_ACCEPT = (
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

_SETTLE = (
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
  redis.call('HDEL', KEYS[2], 'intent', 'intent_epoch', 'intent_before', 'intent_after', 'intent_at',
    'intent_accepted', 'intent_previous', 'intent_stops')
end
return recall()
"""
)

WINDOW_MS, GAP_MS = 60_000, 30_000


class Version01:
    """A process of the version before that has just started, with the lease; each step returns the record after it."""

    def __init__(self, redis: Redis, keys: Keys, lease: Lease, worker: str = "w") -> None:
        self._redis = redis
        self._lease = lease
        self._keys = [keys.lease, keys.worker(worker), keys.past(worker)]
        self._records = keys.records

    async def remember(self, recommended: int | None, count: int | None, *, read: bool = True) -> dict[str, str]:
        args = [
            *("" if number is None else str(number) for number in (recommended, count)),
            *(str(WINDOW_MS), str(GAP_MS), uuid.uuid4().hex[:8], "0"),
            *("", "0", "", "", "", *[""] * 7),  # it has seen nothing before
            *("", str(int(read)), "", "w", "w", ""),
        ]
        return await self._run(_REMEMBER, [*self._keys, self._records], args)

    async def record(self, change: Change) -> dict[str, str]:
        """On the record as it is now."""
        held = await self._redis.hgetall(self._keys[1])
        version = [str(held.get(name, "")) for name in ("memory", "revision", "run", "raised")]
        what = [change.id, str(self._lease.epoch), str(change.before), str(change.after), change.direction.value]
        return await self._run(_RECORD_INTENT, self._keys, [*what, *version, change.stops or ""])

    async def accept(self, change: Change) -> dict[str, str]:
        return await self._run(_ACCEPT, self._keys, [change.id, change.direction.value])

    async def settle(self, change: Change, outcome: str, count: int) -> dict[str, str]:
        return await self._run(_SETTLE, self._keys, [change.id, change.direction.value, outcome, str(count), "", ""])

    async def wanted(self) -> list[int]:
        """The recommendations that it would decide on."""
        return [int(str(member).split(":")[1]) for member in await self._redis.zrange(self._keys[2], 0, -1)]

    async def _run(self, script: str, keys: list[str], args: list[str]) -> dict[str, str]:
        answer: Any = await self._redis.eval(script, len(keys), *keys, value_of(self._lease), *args)
        assert answer[0] == "ok", answer
        return dict(zip(answer[2][::2], answer[2][1::2], strict=True))
