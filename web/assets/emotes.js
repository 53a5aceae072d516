// Our own emotes: `:lemon:` in a text is the picture of that name in `emotes.svg`.

import { h, icon } from './dom.js';

export const EMOTES = ['lemon', 'laugh', 'love', 'wow', 'cry', 'sour', 'angry', 'cool', 'sleepy', 'gg', 'juice', 'heart'];

/** The picture with its code for those who cannot see it; null where there is none of that name. */
export function emote(name) {
  if (!EMOTES.includes(name)) return null;
  const code = `:${name}:`;
  return h('span', { class: 'emote', role: 'img', 'aria-label': code, title: code }, icon(name, 'emotes'));
}
