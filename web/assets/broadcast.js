// What a room's lifecycle events mean for the channel that the directory described.

const STEPS = {
  'stream.started': ({ at, stream, title }) => ({ live: true, interrupted: false, started_at: at, stream, ...(title && { title }) }),
  'stream.interrupted': () => ({ interrupted: true }),
  'stream.resumed': () => ({ interrupted: false }),
  'stream.ended': () => ({ live: false, interrupted: false }),
  // What the room says of itself outweighs what its history, which may be cut, lets one think.
  joined: ({ live }) => (live === false ? { live: false, interrupted: false } : live && { live }),
};

/** The channel after `events`; the same object when none of them changed whether, how and as which broadcast it is live. */
export function after(channel, events) {
  const next = { ...channel };
  for (const event of events) Object.assign(next, STEPS[event.type]?.(event));
  return ['live', 'interrupted', 'stream'].every((name) => next[name] === channel[name]) ? channel : next;
}
