// What the scripts here have in common.

/** The event types that the test publishes, and Tidemark's own. */
export const types = ['message', 'note', 'tidemark.open', 'tidemark.live', 'tidemark.gap', 'tidemark.error'];

/** Tells the test of one event. */
export function hear(id, type, data) {
  process.stdout.write(JSON.stringify({ id, type, data }) + '\n');
}
