package scripts

// Create makes sure that a partition has a clock that fits.
//
//	KEYS[1]  clock
//	ARGV[1]  partitions of the log
//	ARGV[2]  time for which a tail record outlives its events, milliseconds
//	ARGV[3]  newest position that the node knows to have been logged, or "0-0"
//	ARGV[4]  the partition's own channel
//
// It returns 1 if it created the clock and 0 otherwise.
//
// The floor of a new clock lies in the next millisecond. Every event that was lost in
// this millisecond lies before it, so nodes notice one loss once.
//
// A longer tail life than before cannot bring back records that the shorter one has
// dropped, so the past up to now counts as unrecorded.
//
// The script publishes an empty message that carries no event. A Redis user may lack the
// permission to publish, and this shows it before the first event.
var Create = New(`
if not redis.REDIS_VERSION_NUM then return redis.error_reply('VERSION Redis is older than 7.0') end
` + positions + `
redis.call('SPUBLISH', ARGV[4], '')
local have = redis.call('HMGET', KEYS[1], 'last', 'partitions', 'tail_life_ms', 'version')
if have[1] then
  if have[4] ~= '1' then
    return redis.error_reply('MISMATCH the log has layout ' .. tostring(have[4]) .. ', this node writes layout 1')
  end
  if have[2] ~= ARGV[1] then
    return redis.error_reply('MISMATCH the log has ' .. tostring(have[2]) .. ' partitions, this node wants ' .. ARGV[1])
  end
  if have[3] ~= ARGV[2] then
    if tonumber(ARGV[2]) > tonumber(have[3]) then redis.call('HSET', KEYS[1], 'unrecorded', have[1]) end
    redis.call('HSET', KEYS[1], 'tail_life_ms', ARGV[2])
  end
  return 0
end
local start = later({millis(), 0}, parse(ARGV[3]))
start = text({start[1] + 1, 0})
redis.call('HSET', KEYS[1], 'last', start, 'floor', start, 'unrecorded', '0-0',
  'tail_life_ms', ARGV[2], 'partitions', ARGV[1], 'version', '1')
return 1
`)
