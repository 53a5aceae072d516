// Theatre mode: nothing but the picture and the room. Remembered.

import { local, word } from './storage.js';

const root = document.documentElement;
root.dataset.theatre = word('theatre') === '1' ? 'on' : 'off';

export function toggleTheatre() {
  const on = root.dataset.theatre !== 'on';
  root.dataset.theatre = on ? 'on' : 'off';
  local.set('theatre', on ? '1' : null);
}
