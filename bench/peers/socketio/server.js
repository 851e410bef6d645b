// The Socket.IO server that the benchmarks compare Tidemark with. It follows the Socket.IO
// documentation: rooms, connection state recovery, and Redis Streams between processes.
//
//   node server.js PORT [REDIS-URL]
//
// With Redis it runs one process per core, like nginx. Without Redis it runs one process that
// keeps events in memory. It prints "ready" on standard output once every process listens.
//
//   follow     emit "join" with a room, wait for "joined"; events arrive as "event"
//   publish    POST /publish/ROOM with any JSON value; 201 means that the event is stored
import cluster from 'node:cluster';
import { createServer } from 'node:http';
import { availableParallelism } from 'node:os';
import { createAdapter } from '@socket.io/redis-streams-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';

const [port, redisURL] = process.argv.slice(2);
const workers = redisURL ? availableParallelism() : 1;

if (cluster.isPrimary) {
  let listening = 0;
  cluster.on('listening', () => {
    if (++listening === workers) console.log('ready');
  });
  cluster.on('exit', () => process.exit(1)); // a server without one of its workers must not be measured
  for (let i = 0; i < workers; i++) cluster.fork();
  process.on('SIGTERM', () => process.exit(0)); // workers exit when they lose their primary
} else {
  await serve();
}

/** Runs one worker process. */
async function serve() {
  const server = createServer(publish);
  server.keepAliveTimeout = 60_000; // publishers are idle between measures
  const io = new Server(server, {
    adapter: await streams(),
    connectionStateRecovery: { maxDisconnectionDuration: 10 * 60_000 },
    serveClient: false,
  });
  io.on('connection', (socket) => {
    socket.on('join', (room) => {
      socket.join(room);
      io.local.to(socket.id).emit('joined'); // sent to this client only, so it bypasses Redis
    });
  });
  server.listen(Number(port), '127.0.0.1', 4096);

  /** Handles one publish request. */
  async function publish(request, response) {
    const room = /^\/publish\/(.+)$/.exec(request.url)?.[1];
    if (request.method !== 'POST' || !room) return response.writeHead(404).end();
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk;
    // Equivalent to io.to(room).emit("event", …), which does not report completion.
    await io.of('/').adapter.broadcast(
      { type: 2, data: ['event', JSON.parse(body)] },
      { rooms: new Set([decodeURIComponent(room)]), except: new Set(), flags: {} },
    );
    response.writeHead(201, { 'Content-Length': 0 }).end();
  }
}

/** Returns the Redis Streams adapter, or undefined for Socket.IO's own in-memory adapter. */
async function streams() {
  if (!redisURL) return undefined;
  const redis = createClient({ url: redisURL });
  redis.on('error', (e) => console.error(e.message));
  await redis.connect();
  return createAdapter(redis, { maxLen: 100_000, onlyPlaintext: true });
}
