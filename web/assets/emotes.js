// Our own emotes: `:lemon:` in a text is the picture of that name in `emotes.svg`. All are one picture, of which the
// stylesheet shows the right part: in a busy chat that costs much less than a drawing of each.

import { h } from './dom.js';

/** In the order in which they stand in the picture. */
export const EMOTES = ['lemon', 'laugh', 'love', 'wow', 'cry', 'sour', 'angry', 'cool', 'sleepy', 'gg', 'juice', 'heart'];

/** The picture with its code for those who cannot see it; null where there is none of that name. */
export function emote(name) {
  const place = EMOTES.indexOf(name);
  if (place < 0) return null;
  const code = `:${name}:`;
  const element = h('span', { class: 'emote', role: 'img', 'aria-label': code, title: code });
  element.style.setProperty('--place', place);
  return element;
}
