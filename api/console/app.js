// The console. The page inserts everything from the server as text, never as markup.
//
// There are two ways to resume, and the page shows which one was used:
//   - The connection breaks: the browser's EventSource reconnects by itself and
//     sends the last id as Last-Event-ID. The page does nothing.
//   - "Cut the connection" closes the EventSource. A new EventSource does not know
//     the last id, so "Reconnect" puts the cursor into the URL.
'use strict';

const maxRows = 500;   // maximum number of rows in the list
const maxSeen = 20000; // ids kept, to tell a repeated event from one out of order
const maxTries = 6;    // attempts for one publish, with one key: about 15 s

const $ = (id) => document.getElementById(id);

// The current follow, or the last one after a cut. null before the first follow.
let follow = null;

function newFollow(room, start, types) {
  return {
    room, start, types,
    source: null,       // the EventSource; null while cut
    cursor: '',         // the last id of any event, including those of Tidemark itself
    how: 'start',       // what opened the connection: start, page or browser
    replaying: 0,       // events since this connection was opened
    live: false,
    newest: '',         // the greatest id of a received event
    seen: new Set(),    // the newest received ids
    awaited: new Set(), // ids published by this page and not received yet
    received: 0, resumes: 0, replayed: 0, repeated: 0, disordered: 0, gaps: 0,
  };
}

// ---- following ----

function roomURL(room) {
  return 'v1/rooms/' + encodeURIComponent(room) + '/events';
}

// token returns the credential. An EventSource can't set headers and sends it in the query.
function token() {
  return $('token').value.trim();
}

function headers(more) {
  return token() ? { Authorization: 'Bearer ' + token(), ...more } : more;
}

function startFollow(event) {
  event.preventDefault();
  if (follow && follow.source) follow.source.close();
  const types = new Set($('types').value.split(/[\s,]+/).filter(Boolean));
  types.add('message').add($('type').value.trim() || 'message');
  follow = newFollow($('room').value.trim(), $('start').value, types);
  $('events').replaceChildren();
  $('none').hidden = false;
  $('followed').textContent = follow.room;
  $('node').textContent = 'none';
  connect('start');
  discoverTypes(follow);
}

function connect(how) {
  const f = follow;
  const query = f.cursor ? 'last_event_id=' + encodeURIComponent(f.cursor) : f.start;
  const credential = token() ? '&access_token=' + encodeURIComponent(token()) : '';
  const source = new EventSource(roomURL(f.room) + '?' + query + credential);
  f.source = source;
  f.how = how;
  f.live = false;
  setState('connecting');

  const on = (type, handle) => source.addEventListener(type, (e) => {
    if (follow === f && f.source === source) handle(f, e);
  });
  on('tidemark.open', opened);
  on('tidemark.live', live);
  on('tidemark.gap', gap);
  on('tidemark.error', serverError);
  // A publisher may also use the types "error" and "open". Published events are
  // MessageEvents; the EventSource's own are not.
  on('error', (f, e) => { if (!(e instanceof MessageEvent)) broken(f, source); });
  f.listen = (type) => on(type, (f, e) => { if (e instanceof MessageEvent) received(f, e); });
  for (const type of f.types) f.listen(type);
  show();
}

function opened(f, e) {
  const resumed = f.cursor !== '';
  moveTo(f, e.lastEventId);
  f.replaying = 0;
  f.live = false;
  const at = parse(e.data);
  $('node').textContent = at.node || 'unnamed';
  if (resumed) {
    f.resumes++;
    note('resume', f.how === 'page'
      ? 'Resumed: this page sent its cursor as last_event_id.'
      : 'Resumed: the browser reconnected by itself with Last-Event-ID.', e.lastEventId);
  }
  setState('replaying');
  show();
}

function live(f, e) {
  moveTo(f, e.lastEventId);
  f.live = true;
  f.replayed = f.replaying;
  const announced = parse(e.data).replayed;
  if (f.how !== 'start' || announced > 0) note('live', `Live. Replayed: ${announced}.`, e.lastEventId);
  if (announced > f.replayed) {
    note('error', `${announced - f.replayed} replayed events have types that this page did not listen for.`, '');
    discoverTypes(f);
  }
  f.how = 'browser'; // the browser opens the next connection, unless the user clicks
  setState('live');
  show();
}

function received(f, e) {
  const id = e.lastEventId;
  moveTo(f, id);
  if (f.seen.has(id)) f.repeated++;
  else if (id < f.newest) f.disordered++;
  if (id > f.newest) f.newest = id;
  remember(f, id);
  f.awaited.delete(id);
  f.received++;
  if (!f.live) f.replaying++;
  eventRow(e.type, id, e.data, !f.live);
  show();
}

function gap(f, e) {
  moveTo(f, e.lastEventId);
  const g = parse(e.data);
  f.gaps++;
  // The lost events will not arrive.
  for (const id of f.awaited) if (id > g.after && id < g.before) f.awaited.delete(id);
  const why = {
    trimmed: 'the log keeps a limited number of events of this room',
    expired: 'the log keeps events of this room for a limited time',
    reset: 'the log lost its newest events',
    unknown: 'the log does not know the cursor',
  }[g.reason] || 'this page does not know the reason';
  note('gap', `Gap: events may be missing here (${g.reason}: ${why}). After ${g.after || 'the beginning'}, before ${g.before || 'now'}.`, e.lastEventId);
  show();
}

// The server is full, is draining or can't reach its log. If it closes the connection, the
// browser reconnects by itself after the delay that the server named.
function serverError(f, e) {
  if (e.lastEventId) moveTo(f, e.lastEventId);
  const p = parse(e.data);
  note('error', `The server reports ${p.code || 'an error'}${p.detail ? ': ' + p.detail : ''}`, '');
}

function broken(f, source) {
  f.live = false;
  if (source.readyState !== EventSource.CLOSED) {
    if (f.cursor) f.how = 'browser';
    setState('reconnecting');
    show();
    return;
  }
  // A status other than 200 is final, and the browser does not reveal it. A request
  // for the room's history gets the same status.
  f.source = null;
  setState('refused');
  show();
  fetch(roomURL(f.room) + '?limit=1', { headers: headers({ Accept: 'application/json' }) })
    .then(async (r) => note('error', r.ok ? 'The server ended the connection.' : 'Refused: ' + await problem(r), ''))
    .catch((err) => note('error', 'The server is unreachable: ' + err.message, ''));
}

function cut() {
  if (!follow || !follow.source) return;
  follow.source.close();
  follow.source = null;
  follow.live = false;
  note('cut', 'Cut by this page. The log keeps the events that are published now.', follow.cursor);
  setState('cut');
  show();
}

function reconnect() {
  if (follow && !follow.source) connect('page');
}

// discoverTypes also listens for the types of the newest events in the room.
async function discoverTypes(f) {
  try {
    const r = await fetch(roomURL(f.room) + '?order=desc&limit=200', { headers: headers({ Accept: 'application/json' }) });
    if (!r.ok) return; // the follow shows the reason
    for (const e of (await r.json()).events) addType(f, e.type);
  } catch {
    // The follow shows that the server is unreachable.
  }
}

function addType(f, type) {
  if (f.types.has(type)) return;
  f.types.add(type);
  if (f.source) f.listen(type);
  if (f === follow) $('types').value = [...f.types].join(', ');
}

function moveTo(f, id) {
  if (id) f.cursor = id;
}

function remember(f, id) {
  f.seen.add(id);
  if (f.seen.size > maxSeen) f.seen.delete(f.seen.values().next().value); // the oldest
}

// ---- publishing ----

async function publishOne(event) {
  event.preventDefault();
  const room = $('room').value.trim();
  const data = $('data').value;
  try {
    JSON.parse(data);
  } catch (err) {
    answer('The data is not JSON: ' + err.message, true);
    return;
  }
  try {
    const a = await publish(room, $('type').value.trim(), data);
    answer(`${a.status}: ${a.id}${a.again ? ' (stored by an earlier attempt)' : ''}`);
  } catch (err) {
    answer(err.message, true);
  }
}

async function publishTen() {
  const room = $('room').value.trim();
  const type = $('type').value.trim();
  $('ten').disabled = true;
  try {
    let first, last;
    for (let n = 1; n <= 10; n++) {
      last = (await publish(room, type, JSON.stringify({ n, of: 10 }))).id;
      first = first || last;
    }
    answer(`10 published: ${first} to ${last}`);
  } catch (err) {
    answer(err.message, true);
  } finally {
    $('ten').disabled = false;
  }
}

async function demonstrate() {
  $('demo').disabled = true;
  $('room').value = follow.room;
  cut();
  await publishTen();
  reconnect();
  show();
}

// publish sends data, which is JSON text, and returns {id, status, again}. An attempt
// without an answer may have stored the event. The next attempt uses the same
// idempotency key, so the event is stored once.
async function publish(room, type, data) {
  const f = follow;
  if (f && f.room === room && type) addType(f, type);
  const key = newKey();
  const body = `{"type":${JSON.stringify(type || 'message')},"data":${data}}`;
  for (let tries = 1; ; tries++) {
    let r;
    try {
      r = await fetch(roomURL(room), {
        method: 'POST',
        headers: headers({ 'Content-Type': 'application/json', 'Idempotency-Key': key }),
        body,
      });
    } catch (err) {
      if (tries === maxTries) throw new Error('The server is unreachable: ' + err.message);
    }
    if (r && r.ok) {
      const id = (await r.json()).id;
      if (f && f === follow && f.room === room && !f.seen.has(id) && !skipped(f, id)) f.awaited.add(id);
      show();
      return { id, status: r.status, again: r.headers.get('Idempotency-Replayed') === 'true' };
    }
    if (r && (r.status !== 503 || tries === maxTries)) throw new Error(await problem(r));
    answer(`No answer yet. Retrying with the same key (${tries + 1} of ${maxTries})…`, true);
    await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** tries));
  }
}

// skipped reports whether the connection is already past id and will not receive it. This
// happens if a gap notice that covers id arrived before the answer to the publish.
function skipped(f, id) {
  return f.source !== null && f.cursor >= id;
}

// problem returns the text of an RFC 9457 document in one line.
async function problem(response) {
  const p = parse(await response.text());
  return `${response.status} ${p.code || ''}: ${p.detail || p.title || response.statusText}`;
}

function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID needs https
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
}

function parse(json) {
  try {
    return JSON.parse(json) || {};
  } catch {
    return {};
  }
}

// ---- showing ----

const states = {
  connecting: 'Connecting…',
  replaying: 'Replaying…',
  live: 'Live',
  cut: 'Cut',
  reconnecting: 'Reconnecting…',
  refused: 'Refused',
};

function setState(state) {
  $('state').dataset.state = state;
  $('state').textContent = states[state];
}

function show() {
  const f = follow;
  if (!f) return;
  $('cursor').textContent = f.cursor || 'none yet';
  count('received', f.received);
  count('resumes', f.resumes);
  count('replayed', f.replayed);
  count('missing', f.awaited.size, true);
  count('repeated', f.repeated, true);
  count('disordered', f.disordered, true);
  count('gaps', f.gaps, true);
  $('cut').disabled = !f.source;
  $('back').disabled = f.source !== null;
  $('demo').disabled = !f.live || $('ten').disabled;
}

function count(id, n, warn) {
  $(id).textContent = n;
  $(id).classList.toggle('warn', Boolean(warn) && n > 0);
}

function answer(text, failed) {
  $('answer').textContent = text;
  $('answer').classList.toggle('failed', Boolean(failed));
}

function eventRow(type, id, data, replayed) {
  const li = document.createElement('li');
  li.className = replayed ? 'event replayed' : 'event';
  li.dataset.id = id;
  const at = timeOf(id);
  const time = part('time', 'time', at ? at.toLocaleTimeString([], { hour12: false }) : '');
  if (at) time.dateTime = at.toISOString();
  li.append(time, part('span', 'type', type), part('span', 'id', id));
  if (replayed) li.append(part('span', 'tag', 'replayed'));
  li.append(part('code', 'data', data));
  add(li);
}

function note(kind, text, id) {
  const li = document.createElement('li');
  li.className = 'note ' + kind;
  li.dataset.id = id;
  li.append(part('span', 'text', text));
  add(li);
}

function part(tag, className, text) {
  const el = document.createElement(tag);
  el.className = className;
  el.textContent = text;
  return el;
}

function add(li) {
  $('none').hidden = true;
  const list = $('events');
  list.prepend(li);
  if (list.childElementCount > maxRows) list.lastElementChild.remove();
}

// timeOf returns the time in an id. The first 10 characters have 5 bits each and are
// milliseconds since 1970. A cursor over several partitions is not an id and has no time.
function timeOf(id) {
  if (!/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/.test(id)) return null;
  let ms = 0;
  for (const c of id.slice(0, 10)) ms = ms * 32 + '0123456789ABCDEFGHJKMNPQRSTVWXYZ'.indexOf(c);
  return ms <= 8.64e15 ? new Date(ms) : null;
}

$('follow').addEventListener('submit', startFollow);
$('cut').addEventListener('click', cut);
$('back').addEventListener('click', reconnect);
$('demo').addEventListener('click', demonstrate);
$('publish').addEventListener('submit', publishOne);
$('ten').addEventListener('click', publishTen);
