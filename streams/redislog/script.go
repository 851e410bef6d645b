package redislog

import "github.com/redis/go-redis/v9"

// A script is Lua that runs in Redis.
type script struct {
	*redis.Script
	source string
}

func newScript(source string) script { return script{redis.NewScript(source), source} }

// Errors that the scripts return for the node to act on. Nothing is changed then.
const (
	errNoClock  = "NOCLOCK"  // the partition has no clock: run createScript and repeat
	errMismatch = "MISMATCH" // the clock was created with other settings; the text says which
	errVersion  = "VERSION"  // Redis is too old
)

// luaPositions is what the scripts share. A position is a table {ms, seq}. Both
// are doubles, exact up to 2^53: an id's milliseconds have 48 bits, and a
// sequence would need 2^53 events within one millisecond.
const luaPositions = `
local function parse(s)
  local ms, seq = string.match(s or '', '^(%d+)-(%d+)$')
  return ms and {tonumber(ms), tonumber(seq)}
end
local function text(p) return string.format('%.0f-%.0f', p[1], p[2]) end
local function after(a, b) return a[1] > b[1] or a[1] == b[1] and a[2] > b[2] end
local function later(a, b) if after(b, a) then return b end return a end
local function millis()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function failed(reply) return type(reply) == 'table' and reply.err end
`

// luaClock reads the clock in KEYS[1] and checks that it is of a log with
// ARGV[1] partitions. The horizon never goes back when Redis's clock does, for
// it counts from last where that is ahead, and it never passes last.
const luaClock = luaPositions + `
local clock = redis.call('HMGET', KEYS[1], 'last', 'floor', 'unrecorded', 'tail_life_ms', 'partitions', 'lost')
if not clock[1] then return redis.error_reply('NOCLOCK the partition has no clock') end
if clock[5] ~= ARGV[1] then
  return redis.error_reply('MISMATCH the log has ' .. tostring(clock[5]) .. ' partitions, this node wants ' .. ARGV[1])
end
local last, floor, unrecorded, life = parse(clock[1]), parse(clock[2]), parse(clock[3]), tonumber(clock[4])
if not (last and floor and unrecorded and life) then
  return redis.error_reply('MISMATCH the clock cannot be read')
end
local now = millis()
local horizon = later(unrecorded, {math.max(math.max(now, last[1]) - life, 0), 0})
if after(horizon, last) then horizon = last end
`

// luaLoss raises the floor if the log has lost an event that the node knows to have
// been in it. The keys and arguments of a script begin with
//
//	KEYS[1]  clock
//	KEYS     for each such event: stream and tail record of its room
//	ARGV[1]  partitions of the log
//	ARGV[2]  newest position that the node has seen an event at, or "0-0": a log that
//	         has gone back must not hand it out again, however its clock goes
//	ARGV[3]  how many such events there are
//	ARGV     the position of each
//
// It leaves raised, 1 if it raised the floor else 0, and in k and a where the keys
// and arguments of the script itself begin.
//
// An event is lost if it is not in the stream, and could not have been trimmed
// or expired: the entry after it does not follow it, or there is no entry after
// it and the tail record has not reached it either. One at or before the floor
// has been noticed by another node; one at or before the horizon may have expired
// with its tail record. What is not a stream is not a log: lost as well.
//
// Where the loss began, nobody knows for certain. What came before the lost event in
// its room, and is still there, was logged before it, but perhaps by a master that
// was promoted while the old one went on: for a while there are two, and ids of both
// lie among each other. So it is said to have begun a minute earlier as well, which is
// longer than two masters stay.
const luaLoss = luaClock + `
local function lost(known, stream, tail)
  if not after(known, floor) or not after(known, horizon) then return false end
  local record = redis.pcall('GET', tail)
  if record == text(known) then return false end
  local found = redis.pcall('XRANGE', stream, text(known), '+', 'COUNT', 1)
  if failed(found) then return true end
  local entry = found[1]
  if entry then
    if entry[1] == text(known) then return false end
    local prev = parse(entry[2][2])
    return not prev or after(known, prev)
  end
  local reached = not failed(record) and parse(record)
  return not reached or after(known, reached)
end

local function before(known, stream)
  local from = {math.max(known[1] - 60000, 0), 0}
  local found = redis.pcall('XREVRANGE', stream, '(' .. text(known), '-', 'COUNT', 1)
  local kept = not failed(found) and found[1] and parse(found[1][1]) or floor
  return after(from, kept) and kept or from
end

local seen, events = parse(ARGV[2]), tonumber(ARGV[3])
local k, a = 2 + 2 * events, 4 + events
local from
for i = 1, events do
  local known, stream = parse(ARGV[3 + i]), KEYS[2 * i]
  seen = later(seen, known)
  if lost(known, stream, KEYS[2 * i + 1]) then
    local place = before(known, stream)
    if not from or after(from, place) then from = place end
  end
end
local raised = from and 1 or 0
if from then
  last = later(later({now, 0}, last), seen)
  last = {last[1] + 1, 0}
  floor = last
  clock[6] = text(from)
  local set = redis.pcall('HSET', KEYS[1], 'last', text(last), 'floor', text(floor), 'lost', clock[6])
  if failed(set) then return redis.error_reply(set.err) end
end
`

// createScript makes sure that a partition has a clock, and that it fits.
//
//	KEYS[1]  clock
//	ARGV[1]  partitions of the log
//	ARGV[2]  how long a tail record outlives its events, milliseconds
//	ARGV[3]  newest position that the node knows to have been logged, or "0-0"
//	ARGV[4]  the partition's own channel
//
// The floor lies in the next millisecond: what was lost in this one lies before it,
// whoever knows of it, so that one loss is noticed once.
//
// It returns 1 if it created the clock, else 0. A longer tail life than before
// starts with what the shorter one may have forgotten: all up to now.
//
// The empty message that it publishes tells nobody anything: a Redis user may be
// kept from publishing, and the time to find out is before the first event.
var createScript = newScript(`
if not redis.REDIS_VERSION_NUM then return redis.error_reply('VERSION Redis is older than 7.0') end
` + luaPositions + `
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

// Outcomes of a draft in the reply of appendScript.
const (
	stored   = 0 // with the new position
	replayed = 1 // with the position of the first time
	reused   = 2 // the key's record has another fingerprint
	refused  = 3 // with Redis's error
)

// argsPerDraft is how many ARGV appendScript takes for each draft.
const argsPerDraft = 7

// appendScript stores drafts of one partition, in their order, each for itself,
// and publishes each as it is stored.
//
//	KEYS     those of luaLoss, then
//	KEYS     for each draft: stream, tail record, and idempotency record if it has a key
//	ARGV     those of luaLoss, then
//	ARGV     life of an idempotency record, milliseconds
//	ARGV     a random number below 2^32: where this call begins to count in a
//	         millisecond
//	ARGV     for each draft: channel, type, data, fingerprint or "", events to
//	         keep (0: ephemeral), age to keep in milliseconds, trace or ""
//
// It returns 1 if it raised the floor else 0, and an outcome and a text for each
// draft. It is safe to repeat where every draft has a key.
//
// A node that knows of a loss never writes over it: the floor is raised first, so
// that readers are told of it before what follows it, and the node does not come to
// know of a newer event, which would hide it.
//
// A draft's reads come before its first write, and that write is the one that
// Redis may refuse (out of memory, read only, wrong type): a draft that fails
// leaves nothing behind, and from the first write on Redis lets a script finish.
// A read-only Redis ends the script instead, so that the client drops its
// connection to what was the master.
//
// A trace is published in a message of its own, right before the event's, and is not
// stored: nodes of the version before take an entry with one field more for somebody
// else's, and would tell their clients of a gap. The message they ignore, with a line
// in their log.
//
// The record of a room's tail lives for as long as the room's events and the
// tail life on top, counted from the id: ids may run ahead of Redis's clock, and
// the horizon follows them.
//
// The clock is written also where all drafts were replays, for a WAIT after the
// script waits for the last write of its own connection. Only then can Redis refuse
// it, and nothing depends on it.
//
// An event's prev is never before the floor, so that a loss stays provable when
// the floor has moved on to a later one.
//
// Sequences begin anywhere but at 0, the position before all events of its
// millisecond, which streams.IDAt gives. They begin at random so that a log that
// has gone back, to a replica whose clock is behind, does not hand out the id of an
// event that it has lost: nobody could then tell the two apart.
//
// Where the tail record is missing but the stream is not, Redis evicted it or
// somebody deleted it; the stream then still knows what comes before.
//
// MAXLEN is exact, so that the cap means what it says. In a full room that costs
// 1.8 µs more for each event than "~" (14.9 to 13.1 µs in a batch of 64,
// BenchmarkFullRoom, Redis 7.0 on loopback), some 1.5 % of a lone publish.
var appendScript = newScript(luaLoss + `
local keyLife, nonce = ARGV[a], tonumber(ARGV[a + 1])

local function newest(stream, tail)
  local record = redis.pcall('GET', tail)
  if failed(record) then return nil, record.err end
  if record then
    local p = parse(record)
    return p, not p and 'ERR the tail record of the room is not a position' or nil
  end
  local top = redis.pcall('XREVRANGE', stream, '+', '-', 'COUNT', 1)
  if failed(top) then return nil, top.err end
  return top[1] and parse(top[1][1])
end

local function mint(passing)
  local p = passing and later(last, passing) or last
  if now > p[1] then return {now, 1 + nonce} end
  p = {p[1], p[2] + 1 + nonce % 2^24} -- 2^29 calls, should the clock stand for so long
  nonce = 0
  return p
end

local function log(stream, tail, kind, data, keep, age)
  local prev, err = newest(stream, tail)
  if err then return nil, err end
  local p = mint(prev)
  prev = text(later(prev or horizon, floor))
  local added = redis.pcall('XADD', stream, 'MAXLEN', '=', keep, text(p), 'prev', prev, 'type', kind, 'data', data)
  if failed(added) then return nil, added.err end
  redis.call('XTRIM', stream, 'MINID', '~', string.format('%.0f', math.max(now - age, 0)))
  redis.call('PEXPIRE', stream, age)
  redis.call('SET', tail, text(p), 'PX', string.format('%.0f', p[1] - now + age + life))
  return p, nil, prev
end

local function pass()
  local p = mint()
  local set = redis.pcall('HSET', KEYS[1], 'last', text(p))
  if failed(set) then return nil, set.err end
  return p, nil, '~'
end

local function draft(stream, tail, record, channel, kind, data, print, keep, age, trace)
  if record then
    local seen = redis.pcall('GET', record)
    if failed(seen) then return 3, seen.err end
    if seen then
      local id, of = string.match(seen, '^(%d+%-%d+) (%x+)$')
      if not id then return 3, 'ERR the idempotency record is not one' end
      if of ~= print then return 2, '' end
      return 1, id
    end
  end
  local p, err, prev
  if keep == 0 then p, err, prev = pass() else p, err, prev = log(stream, tail, kind, data, keep, age) end
  if err then return 3, err end
  last = p
  local id = text(p)
  if trace ~= '' then redis.call('SPUBLISH', channel, 'trace ' .. id .. ' ' .. trace) end
  redis.call('SPUBLISH', channel, id .. ' ' .. prev .. ' ' .. kind .. ' ' .. data)
  if record then redis.call('SET', record, id .. ' ' .. print, 'PX', keyLife) end
  return 0, id
end

last = later(last, seen)
local replies, touched = {raised}, false
for a = a + 2, #ARGV, 7 do
  local record = ARGV[a + 3] ~= '' and KEYS[k + 2] or nil
  local outcome, said = draft(KEYS[k], KEYS[k + 1], record,
    ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5]), ARGV[a + 6])
  if outcome == 3 and string.find(said, '^READONLY') then return redis.error_reply(said) end
  touched = touched or outcome <= 1
  replies[#replies + 1] = outcome
  replies[#replies + 1] = said
  k = k + (record and 3 or 2)
end
if touched then redis.pcall('HSET', KEYS[1], 'last', text(last)) end
return replies
`)

// edgesScript says what a partition vouches for, and first raises the floor if
// the log has lost what the node knows to have been in it.
//
//	KEYS     those of luaLoss, then the tail records asked for
//	ARGV     those of luaLoss
//
// It returns last, floor, horizon, the position after which the log may have lost
// events when it last went back, 1 if it raised the floor else 0, and the tails.
var edgesScript = newScript(luaLoss + `
local reply = {text(last), text(floor), text(horizon), clock[6] or text(floor), raised}
for from = k, #KEYS, 1000 do -- unpack has room for some 8,000
  local tails = redis.call('MGET', unpack(KEYS, from, math.min(from + 999, #KEYS)))
  for i = 1, #tails do reply[#reply + 1] = tails[i] end
end
return reply
`)
