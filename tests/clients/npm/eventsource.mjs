// Follows the given address with npm's eventsource and prints each event as a line of JSON.
import { EventSource } from 'eventsource';
import { report, types } from './report.mjs';

const source = new EventSource(process.argv[2]);
for (const type of types) {
  source.addEventListener(type, (e) => report(e.lastEventId, e.type, e.data));
}
source.addEventListener('error', (e) => {
  if (source.readyState !== source.CLOSED) return; // it reconnects by itself
  console.error('eventsource gave up:', e.code, e.message);
  process.exit(1);
});
