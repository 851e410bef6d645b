// Shared by the scripts in this directory.

/** The event types that the test publishes, and Tidemark's own. */
export const types = ['message', 'note', 'tidemark.open', 'tidemark.live', 'tidemark.gap', 'tidemark.error'];

/** Prints one event as a line of JSON, which the test reads. */
export function report(id, type, data) {
  process.stdout.write(JSON.stringify({ id, type, data }) + '\n');
}
