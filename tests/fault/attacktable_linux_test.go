package fault_test

import "time"

// costAttacks is the table of attacks.
func costAttacks() []costAttack {
	h2c := []string{"--h2c"}
	history := "/v1/rooms/" + filledRoom(0) + "/events?limit=1000"
	follow := "/v1/events?since=earliest&" + roomsQuery(filledRooms, filledRoom)
	return []costAttack{
		{name: "history over HTTP/2 with window 0", log: inRedis, flags: h2c, fill: rooms64K, run: unreadOverHTTP2(1, 100, 0, history, "application/json")},
		{name: "history not read", log: inRedis, fill: rooms64K, run: historyUnread(30)},
		{name: "streams of many rooms not read", log: inRedis, fill: rooms64K, run: streamUnread(30)},
		{name: "streams of many rooms not read, embedded", log: inEmbedded, extra: true, fill: rooms64K, run: streamUnread(30)},
		{name: "streams read slowly", log: inRedis, fill: rooms64K, run: streamTrickled(100)},
		{name: "WebSockets of many rooms not read", log: inRedis, fill: rooms64K, run: socketsUnread(20)},
		{name: "fast replays", log: inRedis, fill: rooms64K, run: fastReplays(24)},
		{name: "fast replays, embedded", log: inEmbedded, extra: true, fill: rooms64K, run: fastReplays(24)},
		{name: "resumes after a start", log: inRedis, fill: rooms64K, run: resumesAfterStart},
		{name: "arrays of numbers", log: inRedis, auth: true, run: arraysOfNumbers(12)},
		{name: "resets without a credential", log: inRedis, auth: true, half: true, flags: h2c, run: resets(64, 2000, history)},
		{name: "resets on an open node", log: inRedis, half: true, flags: h2c, run: resets(64, 2000, history)},
		{name: "new rooms", log: inRedis, run: newRooms(4)},
		{name: "history given up", log: inRedis, fill: rooms64K, run: historyGivenUp(6, 115, 50*time.Millisecond)},
		{name: "history given up, embedded", log: inEmbedded, extra: true, fill: rooms64K, run: historyGivenUp(6, 115, 50*time.Millisecond)},

		{name: "streams over HTTP/2 not read", log: inRedis, extra: true, flags: h2c, fill: rooms64K, run: unreadOverHTTP2(4, 100, 1000, follow, "text/event-stream")},
		{name: "streams cut off", log: inRedis, extra: true, fill: rooms64K, run: streamsCutOff(16)},
		{name: "newest events of many rooms", log: inRedis, extra: true, fill: rooms64K, run: newestOfRooms(8)},
		{name: "live events not read", log: inRedis, extra: true, run: liveUnread(400)},
		{name: "hot tails of many rooms", log: inRedis, extra: true, fill: tails, run: hotTails},
		{name: "new rooms stored", log: inRedis, extra: true, run: newRoomsStored},
		{name: "slow bodies", log: inRedis, auth: true, extra: true, run: slowBodies(200)},
		{name: "slow bodies of single publishes", log: inRedis, extra: true, run: shortBodies(1600)},
		{name: "bodies without a credential", log: inRedis, auth: true, extra: true, run: bodiesWithoutCredential(12)},
		{name: "headers without an end", log: inRedis, extra: true, run: headersWithoutEnd(800)},
		{name: "headers without an end over HTTP/2", log: inRedis, extra: true, flags: h2c, run: headersOverHTTP2(32)},
		{name: "idle connections", log: inRedis, extra: true, run: idle(5000, 1)},
		{name: "slow TLS handshakes", log: inRedis, tls: true, extra: true, run: slowHandshakes(1600, time.Second)},
		{name: "TLS handshakes given up", log: inRedis, tls: true, extra: true, run: handshakesGivenUp(64)},
		{name: "empty WebSocket frames", log: inRedis, extra: true, run: emptyFrames(8)},
		{name: "WebSocket answers not read", log: inRedis, extra: true, run: answersUnread(100)},
		{name: "long WebSocket messages", log: inRedis, extra: true, run: longMessages(100)},
		{name: "WebSocket subscriptions churned", log: inRedis, extra: true, fill: rooms64K, run: subscriptionsChurned(50)},
	}
}
