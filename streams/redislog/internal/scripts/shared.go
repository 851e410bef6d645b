package scripts

// positions is the Lua that all scripts share. A position is a table {ms, seq}. Both
// numbers are doubles, which are exact up to 2^53. An id has 48 bits of milliseconds, and
// a sequence would need 2^53 events in one millisecond to exceed that.
const positions = `
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

// readClock reads the clock in KEYS[1] and checks that it belongs to a log with ARGV[1]
// partitions. unrecordedBefore never goes back when Redis's clock does, because it counts
// from last where last is ahead. It never passes last.
const readClock = positions + `
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
local unrecordedBefore = later(unrecorded, {math.max(math.max(now, last[1]) - life, 0), 0})
if after(unrecordedBefore, last) then unrecordedBefore = last end
`

// raiseFloor raises the floor if the log has lost an event that the node knows to have
// been logged. The keys and arguments of a script begin with
//
//	KEYS[1]  clock
//	KEYS     for each such event: stream and tail record of its room
//	ARGV[1]  partitions of the log
//	ARGV[2]  newest position that the node has seen, or "0-0"; a log that has gone back
//	         must not use it again, even if its clock is behind
//	ARGV[3]  number of such events
//	ARGV     the position of each
//
// It sets raised to 1 if it raised the floor and to 0 otherwise. It leaves in k and a the
// indexes at which the keys and arguments of the script itself begin.
//
// An event is lost if it is not in the stream and cannot have been trimmed or expired.
// That is so in two cases: the entry after it does not follow it, or the stream has no
// entry after it and the tail record has not reached it. For an event at or before the
// floor, another node has noticed the loss already. An event at or before
// unrecordedBefore may have expired together with its tail record. A key that does not
// hold a stream holds no events, so the event is lost.
//
// The exact begin of a loss cannot be known. The event before the lost one in its room,
// if it still exists, was logged earlier. But during a failover two primaries accept
// writes for a while, and the ids of both are interleaved. So the loss is dated back by
// at least one minute, which is longer than two primaries coexist.
const raiseFloor = readClock + `
local function lost(known, stream, tail)
  if not after(known, floor) or not after(known, unrecordedBefore) then return false end
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
