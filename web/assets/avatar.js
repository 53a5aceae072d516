// A face for every name: its first letter on a colour that is always the same for that name.

import { h } from './dom.js';

/** A hue from 0 to 359 (FNV-1a over the lower-case name). */
export function hue(name) {
  let hash = 0x811c9dc5;
  for (const letter of name.toLowerCase()) hash = Math.imul(hash ^ letter.codePointAt(0), 0x01000193);
  return (hash >>> 0) % 360;
}

export function avatar(name) {
  const element = h('span', { class: 'avatar', 'aria-hidden': 'true' }, (Array.from(name)[0] ?? '?').toUpperCase());
  element.style.setProperty('--hue', hue(name));
  return element;
}
