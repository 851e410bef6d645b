package scripts

// Watermarks returns the watermarks of a partition. It raises the floor first if the log
// has lost an event that the node knows.
//
//	KEYS     those of raiseFloor, then the tail records to read
//	ARGV     those of raiseFloor
//
// It returns last, floor, unrecordedBefore, the position after which the latest loss
// began, 1 if it raised the floor and 0 otherwise, and then the tails.
var Watermarks = New(raiseFloor + `
local reply = {text(last), text(floor), text(unrecordedBefore), clock[6] or text(floor), raised}
for from = k, #KEYS, 1000 do -- unpack takes about 8,000 values
  local tails = redis.call('MGET', unpack(KEYS, from, math.min(from + 999, #KEYS)))
  for i = 1, #tails do reply[#reply + 1] = tails[i] end
end
return reply
`)
