// What somebody wrote in the chat, as nodes: web addresses as links, `:codes:` as emotes, `@names` marked. Text nodes and
// elements, nothing else.

import { h } from './dom.js';
import { emote } from './emotes.js';
import { linkify } from './linkify.js';
import { session } from './session.js';

const TOKEN = /:([a-z]{2,12}):|(?<![\p{L}\p{N}_@.-])@([\p{L}\p{N}_-]{2,24})/gu;
const ALONE = /^(?:\s*:[a-z]{2,12}:){1,3}\s*$/u;

export function speech(text) {
  const nodes = linkify(text).flatMap((node) => (typeof node === 'string' ? tokens(node) : [node]));
  // Emotes that are all there is to a message may be seen.
  if (ALONE.test(text)) for (const node of nodes) if (node.classList?.contains('emote')) node.classList.add('alone');
  return nodes;
}

function tokens(text) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(TOKEN)) {
    const node = match[1] ? emote(match[1]) : h('span', { class: 'mention' }, match[0]);
    if (!node) continue;
    nodes.push(text.slice(end, match.index), node);
    end = match.index + match[0].length;
  }
  nodes.push(text.slice(end));
  return nodes.filter((node) => node !== '');
}

/** Whether a text mentions whoever is signed in. */
export function mentionsMe(text) {
  const me = session.account?.name.toLowerCase();
  return me !== undefined && Array.from(text.matchAll(TOKEN)).some(([, , name]) => name?.toLowerCase() === me);
}

/** Lifts `row`, or the rows under it, that mention or answer whoever is signed in. */
export function markMentions(row) {
  const me = session.account;
  const name = me && `@${me.name.toLowerCase()}`;
  for (const mention of row.querySelectorAll('.mention')) mention.classList.toggle('mine', mention.textContent.toLowerCase() === name);
  for (const message of row.matches('.message') ? [row] : row.querySelectorAll('.message')) {
    const { author } = message.dataset;
    // Own words are for others.
    const answered = me && author && author !== me.id && message.querySelector('.reply-line')?.dataset.author === me.id;
    message.classList.toggle('for-me', Boolean(answered || message.querySelector('.mention.mine')));
  }
}
