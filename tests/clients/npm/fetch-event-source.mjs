// Follows the given address with @microsoft/fetch-event-source and prints each event as a
// line of JSON. The package is made for browsers; it needs only the timers of window.
import { createRequire } from 'node:module';
import { report } from './report.mjs';

globalThis.window = globalThis;
globalThis.document = { removeEventListener() {} };

// The package's ES modules import without file extensions, which Node rejects. Its CommonJS
// build works.
const { fetchEventSource } = createRequire(import.meta.url)('@microsoft/fetch-event-source');

await fetchEventSource(process.argv[2], {
  openWhenHidden: true, // Node has no visible page
  onmessage(e) {
    if (e.data !== '') report(e.id, e.event || 'message', e.data); // a block with only an id arrives as an empty event
  },
});
console.error('fetch-event-source gave up: the server ended the stream');
process.exit(1);
