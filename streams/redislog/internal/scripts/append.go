package scripts

// Results of a draft in the reply of Append.
const (
	Stored    = 0 // with the new position
	Replayed  = 1 // with the position of the first time
	KeyReused = 2 // the key's record has another fingerprint
	Refused   = 3 // with Redis's error
	StoredNew = 4 // with the new position; the room is new
	NewRoom   = 5 // the room would be new, and the draft is for existing rooms
)

// ArgsPerDraft is the number of ARGV that Append takes for each draft.
const ArgsPerDraft = 8

// Append stores drafts of one partition in their order, each independently of the others,
// and publishes each one as it is stored.
//
//	KEYS     those of raiseFloor, then
//	KEYS     for each draft: stream, tail record, and idempotency record if it has a key
//	ARGV     those of raiseFloor, then
//	ARGV     life of an idempotency record, milliseconds
//	ARGV     a random number below 2^32, at which the sequences of this call begin
//	ARGV     for each draft: channel, type, data, fingerprint or "", events to
//	         keep (0: ephemeral), age to keep in milliseconds, trace or "", and "1"
//	         or "" to store the draft in an existing room only
//
// It returns 1 if it raised the floor and 0 otherwise, followed by a result and a text
// for each draft. It is safe to repeat if every draft has a key.
//
// A node that knows of a loss never writes over it. The script raises the floor first, so
// that readers learn of the loss before they get later events. Otherwise the node would
// come to know a newer event, which would hide the loss.
//
// A draft reads before it writes, and its first write is the one that Redis may refuse
// (out of memory, read only, wrong type). So a draft that fails leaves nothing behind,
// and after the first write Redis lets the script finish. If Redis is read only, the
// whole script fails, so that the client drops its connection to the former primary.
//
// A trace is published in its own message, right before the event's message, and is not
// stored. A node of an earlier version takes an entry with one more field for a foreign
// entry and would send its clients a gap notice. It ignores the message and logs a line.
//
// A room's tail record outlives the room's events by the tail life. Its life is counted
// from the id, because ids may run ahead of Redis's clock and unrecordedBefore follows
// the ids.
//
// The clock is written even if all drafts were replays, because a WAIT after the script
// waits for the last write of its own connection. Redis can refuse that write only then,
// and nothing depends on it.
//
// An event's prev is never before the floor. So a loss can still be proven after a later
// loss has moved the floor.
//
// Sequences never begin at 0, which is the position before all events of its millisecond
// (streams.IDAt). They begin at random, so that a log that has gone back does not mint
// the id of an event that it has lost. Nodes could not tell the two events apart.
//
// If the tail record is missing and the stream exists, Redis evicted the record or an
// operator deleted it. The previous position then comes from the stream, and the room is
// not new.
//
// MAXLEN is exact, so that a room never exceeds its limit. In a full room that costs
// 1.8 µs per event more than "~" (14.9 instead of 13.1 µs in a batch of 64,
// BenchmarkFullRoom, Redis 7.0 on loopback), about 1.5 % of a single publish.
var Append = New(raiseFloor + `
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
  p = {p[1], p[2] + 1 + nonce % 2^24} -- room for 2^29 calls while Redis's clock stands still
  nonce = 0
  return p
end

local function log(stream, tail, kind, data, keep, age, existing)
  local top, err = newest(stream, tail)
  if err or existing and not top then return nil, err end
  local p = mint(top)
  local prev = text(later(top or unrecordedBefore, floor))
  local added = redis.pcall('XADD', stream, 'MAXLEN', '=', keep, text(p), 'prev', prev, 'type', kind, 'data', data)
  if failed(added) then return nil, added.err end
  redis.call('XTRIM', stream, 'MINID', '~', string.format('%.0f', math.max(now - age, 0)))
  redis.call('PEXPIRE', stream, age)
  redis.call('SET', tail, text(p), 'PX', string.format('%.0f', p[1] - now + age + life))
  return p, nil, prev, not top
end

local function pass()
  local p = mint()
  local set = redis.pcall('HSET', KEYS[1], 'last', text(p))
  if failed(set) then return nil, set.err end
  return p, nil, '~'
end

local function draft(stream, tail, record, channel, kind, data, print, keep, age, trace, existing)
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
  local p, err, prev, new
  if keep == 0 then p, err, prev = pass() else p, err, prev, new = log(stream, tail, kind, data, keep, age, existing) end
  if err then return 3, err end
  if not p then return 5, '' end
  last = p
  local id = text(p)
  if trace ~= '' then redis.call('SPUBLISH', channel, 'trace ' .. id .. ' ' .. trace) end
  redis.call('SPUBLISH', channel, id .. ' ' .. prev .. ' ' .. kind .. ' ' .. data)
  if record then redis.call('SET', record, id .. ' ' .. print, 'PX', keyLife) end
  return new and 4 or 0, id
end

last = later(last, seen)
local replies, touched = {raised}, false
for a = a + 2, #ARGV, 8 do
  local record = ARGV[a + 3] ~= '' and KEYS[k + 2] or nil
  local outcome, said = draft(KEYS[k], KEYS[k + 1], record,
    ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5]), ARGV[a + 6], ARGV[a + 7] == '1')
  if outcome == 3 and string.find(said, '^READONLY') then return redis.error_reply(said) end
  touched = touched or outcome <= 1 or outcome == 4
  replies[#replies + 1] = outcome
  replies[#replies + 1] = said
  k = k + (record and 3 or 2)
end
if touched then redis.pcall('HSET', KEYS[1], 'last', text(last)) end
return replies
`)
