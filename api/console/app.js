// The console. Everything that comes over the wire is set as text.
//
// Two ways to resume are at work, and the page shows which one it was:
//   - the line breaks: the browser's EventSource reconnects by itself and sends
//     the last id it saw as Last-Event-ID. The page does nothing;
//   - "Cut the connection" closes the EventSource. A new one knows nothing of the
//     old one's ids, so "Come back" gives it the cursor in the address.
'use strict';

const maxRows = 500;   // in the list
const maxSeen = 20000; // ids remembered, to tell a repeat from a wrong order
const maxTries = 6;    // of one publish, all with one key: about 15 s

const $ = (id) => document.getElementById(id);

// What is followed now, or was until the cut; null before the first follow.
let follow = null;

function newFollow(room, start, types) {
  return {
    room, start, types,
    source: null,       // the EventSource; null while cut
    cursor: '',         // the last id seen, of whatever kind of event
    how: 'start',       // how the connection came to be: start, page or browser
    replaying: 0,       // events since this connection opened
    live: false,
    newest: '',         // the greatest id of an event
    seen: new Set(),    // the newest ids received
    awaited: new Set(), // published by this page and not received yet
    received: 0, resumes: 0, replayed: 0, repeated: 0, disordered: 0, gaps: 0,
  };
}

// ---- following ----

function roomURL(room) {
  return 'v1/rooms/' + encodeURIComponent(room) + '/events';
}

// token is the credential to show: in the query where headers can't be set.
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
  on('tidemark.error', refusedForNow);
  // A publisher may name its events "error" or "open" too: those are
  // MessageEvents, the EventSource's own are not.
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
      ? 'Came back: this page gave its cursor as last_event_id.'
      : 'Came back: the browser reconnected by itself, with Last-Event-ID.', e.lastEventId);
  }
  setState('replaying');
  show();
}

function live(f, e) {
  moveTo(f, e.lastEventId);
  f.live = true;
  f.replayed = f.replaying;
  const told = parse(e.data).replayed;
  if (f.how !== 'start' || told > 0) note('live', `Live. Replayed: ${told}.`, e.lastEventId);
  if (told > f.replayed) {
    note('error', `${told - f.replayed} of them are of a type that this page did not listen for.`, '');
    discoverTypes(f);
  }
  f.how = 'browser'; // what comes next without a click is the browser's doing
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
  // They are lost, and told: no longer awaited.
  for (const id of f.awaited) if (id > g.after && id < g.before) f.awaited.delete(id);
  const why = {
    trimmed: 'the room keeps only its newest events',
    expired: 'the room keeps its events only for a time',
    reset: 'the log has lost its end',
    unknown: 'the position handed back says nothing to the log',
  }[g.reason] || 'no reason known to this page';
  note('gap', `Gap: events may be missing here (${g.reason}: ${why}). After ${g.after || 'the beginning'}, before ${g.before || 'now'}.`, e.lastEventId);
  show();
}

// The server is full, draining or cut off from its log. Where it closes, the
// browser comes back by itself after the time that the server gave.
function refusedForNow(f, e) {
  if (e.lastEventId) moveTo(f, e.lastEventId);
  const p = parse(e.data);
  note('error', `The server says ${p.code || 'error'}: ${p.detail || 'no more than that'}`, '');
}

function broken(f, source) {
  f.live = false;
  if (source.readyState !== EventSource.CLOSED) {
    if (f.cursor) f.how = 'browser';
    setState('reconnecting');
    show();
    return;
  }
  // A status other than 200: final. The browser does not tell which; asking for
  // the room's history does.
  f.source = null;
  setState('refused');
  show();
  fetch(roomURL(f.room) + '?limit=1', { headers: headers({ Accept: 'application/json' }) })
    .then(async (r) => note('error', r.ok ? 'The server ended the connection.' : 'Refused: ' + await problem(r), ''))
    .catch((err) => note('error', 'The server cannot be reached: ' + err.message, ''));
}

function cut() {
  if (!follow || !follow.source) return;
  follow.source.close();
  follow.source = null;
  follow.live = false;
  note('cut', 'Cut by this page. What is published now waits in the log.', follow.cursor);
  setState('cut');
  show();
}

function comeBack() {
  if (follow && !follow.source) connect('page');
}

// discoverTypes listens also for the types of the newest events in the room.
async function discoverTypes(f) {
  try {
    const r = await fetch(roomURL(f.room) + '?order=desc&limit=200', { headers: headers({ Accept: 'application/json' }) });
    if (!r.ok) return; // the follow itself says why
    for (const e of (await r.json()).events) addType(f, e.type);
  } catch {
    // The follow itself shows that the server cannot be reached.
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
    answer(`${a.status}: ${a.id}${a.again ? ' (stored by an earlier try)' : ''}`);
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
  comeBack();
  show();
}

// publish sends data, which is JSON already, and returns {id, status, again}.
// A try that got no answer may have stored the event: so the next one has the
// same key, and the event is stored once.
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
      if (tries === maxTries) throw new Error('The server cannot be reached: ' + err.message);
    }
    if (r && r.ok) {
      const id = (await r.json()).id;
      if (f && f === follow && f.room === room && !f.seen.has(id) && !skipped(f, id)) f.awaited.add(id);
      show();
      return { id, status: r.status, again: r.headers.get('Idempotency-Replayed') === 'true' };
    }
    if (r && (r.status !== 503 || tries === maxTries)) throw new Error(await problem(r));
    answer(`No answer yet. Trying again with the same key (${tries + 1} of ${maxTries})…`, true);
    await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** tries));
  }
}

// skipped reports whether a connection has gone past id already, and so will not
// receive it any more: a gap that covers it was told before the answer came.
function skipped(f, id) {
  return f.source !== null && f.cursor >= id;
}

// problem says in one line what an RFC 9457 document says.
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

// timeOf reads the moment that an id begins with: 10 characters of 5 bits, in
// milliseconds. A cursor over several partitions is not an id, and has none.
function timeOf(id) {
  if (!/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/.test(id)) return null;
  let ms = 0;
  for (const c of id.slice(0, 10)) ms = ms * 32 + '0123456789ABCDEFGHJKMNPQRSTVWXYZ'.indexOf(c);
  return ms <= 8.64e15 ? new Date(ms) : null;
}

$('follow').addEventListener('submit', startFollow);
$('cut').addEventListener('click', cut);
$('back').addEventListener('click', comeBack);
$('demo').addEventListener('click', demonstrate);
$('publish').addEventListener('submit', publishOne);
$('ten').addEventListener('click', publishTen);
