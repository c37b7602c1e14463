-- Reads a record, and the recommendations that the version before keeps beside it. Changes nothing.
-- Returns {now, run_id of the server, record, recommendations}. A record is JSON, the list of its fields and values in
-- turn: a client takes ten times as long to read each of them from Redis' protocol.
local record_key, past_key = unpack(KEYS)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local info = redis.pcall('INFO', 'server')
local server = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
local record = redis.call('HGETALL', record_key)
local text = #record == 0 and '[]' or cjson.encode(record)
return {string.format('%.0f', now), server, text, redis.call('ZRANGE', past_key, 0, -1)}
