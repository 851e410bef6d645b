// Follows the address given with npm's eventsource, and prints each event as a line of JSON.
import { EventSource } from 'eventsource';
import { hear, types } from './hear.mjs';

const source = new EventSource(process.argv[2]);
for (const type of types) {
  source.addEventListener(type, (e) => hear(e.lastEventId, e.type, e.data));
}
source.addEventListener('error', (e) => {
  if (source.readyState !== source.CLOSED) return; // it comes back by itself
  console.error('gave up:', e.code, e.message);
  process.exit(1);
});
