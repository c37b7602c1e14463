-- Adds entries to streams, if the lease is held; {'lost'} if it is not.
--
-- lease: '<epoch>:<holder>'. Then for each entry: the number of its key, its ident ('' for none), for how many ms the
-- stream keeps entries, how many it keeps, and the number of its fields with their values. One whose ident is among
-- the newest 64 entries of its stream is there already: the answer to an earlier attempt was lost, or another leader
-- has written it.
-- Returns {'ok', number of entries that were added}.
local lease = ARGV[1]

if redis.call('GET', KEYS[1]) ~= lease then return {'lost'} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function is_there(key, ident)
  if ident == '' then return false end
  for _, entry in ipairs(redis.call('XREVRANGE', key, '+', '-', 'COUNT', 64)) do
    for place = 1, #entry[2], 2 do
      if entry[2][place] == 'i' and entry[2][place + 1] == ident then return true end
    end
  end
  return false
end

local place, added = 2, 0
while place <= #ARGV do
  local key, ident, keeps, most = KEYS[tonumber(ARGV[place])], ARGV[place + 1], tonumber(ARGV[place + 2]), ARGV[place + 3]
  local last = place + 4 + tonumber(ARGV[place + 4])
  if not is_there(key, ident) then
    redis.call('XADD', key, 'MAXLEN', '~', most, '*', unpack(ARGV, place + 5, last))
    redis.call('XTRIM', key, 'MINID', '~', string.format('%.0f', math.max(0, now - keeps)))
    redis.call('PEXPIRE', key, string.format('%.0f', keeps))
    added = added + 1
  end
  place = last + 1
end
return {'ok', added}
