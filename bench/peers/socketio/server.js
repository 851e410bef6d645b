// A Socket.IO server as its documentation has it: rooms, connection state recovery,
// and Redis Streams between its processes.
//
//   node server.js PORT [REDIS-URL]
//
// With Redis there is a process for each core, as nginx has them; without, one, which keeps its
// events in memory. A line "ready" on standard output says that all of them answer.
//
//   a client   emits "join" with a room and is answered "joined"; events come as "event"
//   publish    POST /publish/ROOM with any JSON value: 201 once it is in the log
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
  cluster.on('exit', () => process.exit(1)); // half a server is none
  for (let i = 0; i < workers; i++) cluster.fork();
  process.on('SIGTERM', () => process.exit(0)); // workers leave when they lose their primary
} else {
  await serve();
}

/** Serves as one of the processes. */
async function serve() {
  const server = createServer(publish);
  server.keepAliveTimeout = 60_000; // publishers pause between measures
  const io = new Server(server, {
    adapter: await streams(),
    connectionStateRecovery: { maxDisconnectionDuration: 10 * 60_000 },
    serveClient: false,
  });
  io.on('connection', (socket) => {
    socket.on('join', (room) => {
      socket.join(room);
      io.local.to(socket.id).emit('joined'); // past the log: it is for this client alone
    });
  });
  server.listen(Number(port), '127.0.0.1', 4096);

  /** Answers one request of a publisher. */
  async function publish(request, response) {
    const room = /^\/publish\/(.+)$/.exec(request.url)?.[1];
    if (request.method !== 'POST' || !room) return response.writeHead(404).end();
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk;
    // What io.to(room).emit("event", …) does, which does not say when it is done.
    await io.of('/').adapter.broadcast(
      { type: 2, data: ['event', JSON.parse(body)] },
      { rooms: new Set([decodeURIComponent(room)]), except: new Set(), flags: {} },
    );
    response.writeHead(201, { 'Content-Length': 0 }).end();
  }
}

/** The adapter that keeps events in Redis, or undefined: that of Socket.IO itself, in memory. */
async function streams() {
  if (!redisURL) return undefined;
  const redis = createClient({ url: redisURL });
  redis.on('error', (e) => console.error(e.message));
  await redis.connect();
  return createAdapter(redis, { maxLen: 100_000, onlyPlaintext: true });
}
