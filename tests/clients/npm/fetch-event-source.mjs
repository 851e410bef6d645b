// Follows the address given with @microsoft/fetch-event-source, and prints each
// event as a line of JSON. The package is made for browsers, and of a window it
// needs the timers only.
import { createRequire } from 'node:module';
import { hear } from './hear.mjs';

globalThis.window = globalThis;
globalThis.document = { removeEventListener() {} };

// Its ES modules leave out file extensions, which Node does not forgive.
const { fetchEventSource } = createRequire(import.meta.url)('@microsoft/fetch-event-source');

await fetchEventSource(process.argv[2], {
  openWhenHidden: true, // nothing here is ever visible
  onmessage(e) {
    if (e.data !== '') hear(e.id, e.event || 'message', e.data); // an id-only block arrives as an empty event
  },
});
console.error('gave up: the server ended the stream');
process.exit(1);
