-- What a standby shows and remembers: the leader, what it published, and each worker's record. Changes nothing.
--
-- most, most_in_all: bytes of one published cycle, and of all of them; no leader publishes more, so more is left out.
-- Returns {now, run_id of the server, leader, cycles, records}, the records as recall.lua has them. '' stands in the
-- place of a key that holds another type, so that the other keys can still be read.
local leader_key, cycles_key = unpack(KEYS, 1, 2)
local most, most_in_all = tonumber(ARGV[1]), tonumber(ARGV[2])

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local info = redis.pcall('INFO', 'server')
local server = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
local function all(key)
  local found = redis.pcall('HGETALL', key)
  if not found.err then return found end
  return string.find(found.err, 'WRONGTYPE', 1, true) and '' or redis.call('HGETALL', key)
end

local records = {}
for place = 3, #KEYS do
  local record = all(KEYS[place])
  records[place - 2] = record == '' and '' or #record == 0 and '[]' or cjson.encode(record)
end
local published, bytes = all(cycles_key), 0
local shown = published == '' and '' or {}
for place = 1, #published, 2 do
  local size = #published[place] + #published[place + 1]
  if size <= most and bytes + size <= most_in_all then
    bytes = bytes + size
    shown[#shown + 1], shown[#shown + 2] = published[place], published[place + 1]
  end
end
return {string.format('%.0f', now), server, all(leader_key), shown, records}
