// The sound of an alert, made here: two short tones, a fifth apart.

const TONES = [
  [784, 0],
  [1175, 0.14],
];
const LENGTH = 0.7;

let context = null;

/** `volume` from 0 (none) to 1. A browser that forbids sound before a click stays silent. */
export function chime(volume) {
  if (!volume) return;
  context ??= new AudioContext();
  context.resume().catch(() => null);
  for (const [frequency, delay] of TONES) {
    const begin = context.currentTime + delay;
    const gain = new GainNode(context, { gain: 0 });
    gain.gain.setValueAtTime(0, begin);
    gain.gain.linearRampToValueAtTime(volume * 0.4, begin + 0.01);
    gain.gain.exponentialRampToValueAtTime(0.0001, begin + LENGTH);
    const tone = new OscillatorNode(context, { type: 'triangle', frequency });
    tone.connect(gain).connect(context.destination);
    tone.start(begin);
    tone.stop(begin + LENGTH);
  }
}
