-- The name of a service's record, and the service that owns the record under the worker's own name; '' for unknown.
local records_key, record_key = unpack(KEYS)
local service = unpack(ARGV)

return {redis.call('HGET', records_key, service) or '', redis.call('HGET', record_key, 'service') or ''}
