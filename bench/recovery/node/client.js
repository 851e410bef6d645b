// Clients of the recovery comparison. Each follows one room with the library that people
// use with the system, and reconnects as the library does by itself.
//
//   node client.js SYSTEM ADDRESS ROOM CLIENTS
//
// It writes a line for each thing that happens to a client:
//
//   3 open              client 3 has subscribed or resumed
//   3 event 17          it received event 17
//   3 told trimmed      the system told it that it may have missed events, and why
//   3 closed 503        its library gave up, and the application opened a new connection
import { Centrifuge } from 'centrifuge';
import { EventSource } from 'eventsource';
import { io } from 'socket.io-client';
import { WebSocket } from 'ws';

const [system, address, room, clients] = process.argv.slice(2);

let lines = [];
/** Writes a line about a client; lines of one turn of the event loop are written together. */
function say(client, text) {
  if (lines.push(`${client} ${text}\n`) > 1) return;
  setImmediate(() => {
    process.stdout.write(lines.join(''));
    lines = [];
  });
}

const follow = {
  tidemark: (client) =>
    eventSource(client, `http://${address}/v1/rooms/${room}/events`, (source) => {
      source.addEventListener('tidemark.live', () => say(client, 'open'));
      source.addEventListener('tidemark.gap', (e) => say(client, `told ${JSON.parse(e.data).reason}`));
    }),
  nchan: (client) =>
    eventSource(client, `http://${address}/sub/${room}`, (source) => {
      source.addEventListener('open', () => say(client, 'open'));
    }),
  centrifugo,
  socketio,
};

for (let client = 0; client < Number(clients); client++) follow[system](client);

/**
 * Follows over SSE. EventSource reconnects after a lost connection, and gives up for good after
 * any status other than 200. The application then opens a new one with the last id, as the
 * documentation of both systems says.
 */
function eventSource(client, url, listen, lastId = '') {
  const source = new EventSource(lastId ? `${url}?last_event_id=${encodeURIComponent(lastId)}` : url);
  source.addEventListener('message', (e) => {
    lastId = e.lastEventId || lastId;
    say(client, `event ${JSON.parse(e.data).n}`);
  });
  source.addEventListener('error', (e) => {
    if (source.readyState !== EventSource.CLOSED) return;
    say(client, `closed ${e.code ?? ''}`);
    setTimeout(() => eventSource(client, url, listen, lastId), 1000);
  });
  listen(source);
}

/** Centrifugo: the subscription keeps offset and epoch, and recovers with them. */
function centrifugo(client) {
  const centrifuge = new Centrifuge(`ws://${address}/connection/websocket`, { websocket: WebSocket });
  const subscription = centrifuge.newSubscription(room, { positioned: true, recoverable: true });
  subscription.on('publication', (e) => say(client, `event ${e.data.n}`));
  subscription.on('subscribed', (e) => {
    if (e.wasRecovering && !e.recovered) say(client, 'told recovered=false');
    say(client, 'open');
  });
  centrifuge.on('disconnected', (e) => say(client, `closed ${e.code} ${e.reason}`));
  subscription.on('unsubscribed', (e) => say(client, `unsubscribed ${e.code} ${e.reason}`));
  subscription.subscribe();
  centrifuge.connect();
}

/** Socket.IO: connection state recovery; without it, the client joins the room again. */
function socketio(client) {
  const socket = io(`http://${address}`, { transports: ['websocket'], forceNew: true });
  let joined = false;
  socket.on('event', (data) => say(client, `event ${data.n}`));
  socket.on('connect', () => {
    if (socket.recovered) return say(client, 'open');
    if (joined) say(client, 'told recovered=false');
    socket.emit('join', room, () => {
      joined = true;
      say(client, 'open');
    });
  });
}
