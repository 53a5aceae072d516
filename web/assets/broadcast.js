// What a room's lifecycle events mean for the channel that the directory described.

const STEPS = {
  'stream.started': ({ at, stream, title }) => ({ live: true, interrupted: false, started_at: at, stream, ...(title && { title }) }),
  'stream.interrupted': () => ({ interrupted: true }),
  'stream.resumed': () => ({ interrupted: false }),
  'stream.ended': () => ({ live: false, interrupted: false }),
};

/** The channel after `events`; the same object when none of them changed it. History ends at today, so all of it counts. */
export function after(channel, events) {
  const next = { ...channel };
  for (const event of events) Object.assign(next, STEPS[event.type]?.(event));
  return next.live === channel.live && next.interrupted === channel.interrupted ? channel : next;
}
