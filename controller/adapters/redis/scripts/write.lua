-- Compare and set: writes a record if the lease is held, and if record and server are still what they were when they
-- were read. Otherwise it writes nothing and returns {'lost'} or {'changed'}.
--
-- lease: '<epoch>:<holder>', or '' if a standby gives back what was lost: that can only make every replica wait longer.
-- memory, revision, run, raised: the record's version as it was read ('' for a missing field). server: the run_id then.
-- service: whose record it is ('' for unknown), entered under `name` in the list of records.
-- Then the number of fields to delete and their names, and for each field to set its name, its value, and '1' if each
-- '@' in that value stands for the time of this script.
-- Returns {'ok', now, server, record}, the record as recall.lua has it.
local lease_key, record_key, records_key = unpack(KEYS)
local lease, memory, revision, run, raised, server, service, name, deleted = unpack(ARGV, 1, 9)

if lease ~= '' and redis.call('GET', lease_key) ~= lease then return {'lost'} end
local info = redis.pcall('INFO', 'server')
local server_now = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
local held = redis.call('HMGET', record_key, 'memory', 'revision', 'run', 'raised')
for place, was in ipairs({memory, revision, run, raised}) do
  if (held[place] or '') ~= was then return {'changed'} end
end
if server_now ~= server then return {'changed'} end

local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local first_set = 10 + tonumber(deleted)
for place = 10, first_set - 1 do redis.call('HDEL', record_key, ARGV[place]) end
for place = first_set, #ARGV, 3 do
  local value = ARGV[place + 1]
  if ARGV[place + 2] == '1' then value = string.gsub(value, '@', now) end
  redis.call('HSET', record_key, ARGV[place], value)
end
if service ~= '' then redis.call('HSETNX', records_key, service, name) end
local record = redis.call('HGETALL', record_key)
return {'ok', now, server_now, #record == 0 and '[]' or cjson.encode(record)}
