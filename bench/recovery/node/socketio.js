// A Socket.IO node: rooms, connection state recovery, and Redis Streams between the nodes.
//
//   node socketio.js PORT REDIS-URL EVENTS
//
// EVENTS is the length of the stream that recovery reads. POST /publish/ROOM with any JSON
// value is answered with 201 when Redis has the event.
import { createServer } from 'node:http';
import { createAdapter } from '@socket.io/redis-streams-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';

const [port, url, events] = process.argv.slice(2);

const redis = createClient({ url });
redis.on('error', (e) => console.error(e.message));
await redis.connect();

const server = createServer((request, response) => {
  publish(request, response).catch((e) => response.writeHead(503).end(e.message));
});
const io = new Server(server, {
  adapter: createAdapter(redis, { maxLen: Number(events), onlyPlaintext: true }),
  connectionStateRecovery: { maxDisconnectionDuration: 10 * 60_000 },
  serveClient: false,
});
io.on('connection', (socket) => {
  socket.on('join', (room, joined) => {
    socket.join(room);
    joined();
  });
});
server.listen(Number(port), '127.0.0.1');

/** Handles one request. */
async function publish(request, response) {
  const room = /^\/publish\/(.+)$/.exec(request.url)?.[1];
  if (request.method !== 'POST' || !room) return response.writeHead(404).end();
  let body = '';
  for await (const chunk of request.setEncoding('utf8')) body += chunk;
  // Equivalent to io.to(room).emit("event", …), which does not report completion. The adapter
  // hides errors of Redis. It adds the offset to the packet only if Redis has the event.
  const packet = { type: 2, data: ['event', JSON.parse(body)] };
  await io.of('/').adapter.broadcast(packet, { rooms: new Set([room]), except: new Set(), flags: {} });
  response.writeHead(packet.data.length > 2 ? 201 : 503).end();
}
