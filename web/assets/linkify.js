// Chat text with its web addresses made into links: text nodes and <a> elements, nothing else.

import { h } from './dom.js';

// Only http and https; brackets, quotes and closing punctuation belong to the sentence, not to the address.
const ADDRESS = /\bhttps?:\/\/[^\s<>"'`\u200e\u200f\u202a-\u202e\u2066-\u2069]+/giu;
const TAIL = /[.,:;!?)\]}…。、」』]+$/u;

export function linkify(text) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = match[0].replace(TAIL, '');
    if (!URL.canParse(address)) continue;
    nodes.push(text.slice(end, match.index), h('a', { href: address, target: '_blank', rel: 'noopener noreferrer nofollow ugc' }, address));
    end = match.index + address.length;
  }
  nodes.push(text.slice(end));
  return nodes.filter((node) => node !== '');
}
