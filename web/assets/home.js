// `/`: who is live, the most watched first. The list is read again every 15 seconds while the page is looked at; the
// search filters it here, and of hundreds only as many are drawn as one has scrolled to.

import { api, explain } from './api.js';
import { LiveCard, offlineLine } from './card.js';
import { h } from './dom.js';
import { showHeader } from './header.js';
import { t } from './i18n.js';
import { called } from './names.js';

const REFRESH_MS = 15_000;
const PAGE = 200;
// Read at once, at most; whoever is not among so many is found by name.
const PAGES = 5;
const DRAWN = 36;
const OFFLINE = 24;

const cards = new Map();
let channels = [];
let drawn = DRAWN;
let query = new URLSearchParams(location.search).get('q') ?? '';
let category = null;

const grid = h('div', { class: 'grid', 'aria-busy': true });
const chips = h('div', { class: 'chips', role: 'group', 'aria-label': t('home.categories') });
const note = h('div', { class: 'home-note', role: 'status' });
const moreButton = h('button', { type: 'button', class: 'button more', hidden: true, onclick: showMore }, t('more'));
const offline = h('section', { class: 'offline', hidden: true, 'aria-labelledby': 'offline-title' });

showHeader({ onSearch: search });
document.title = `Lemonair · ${t('home.title')}`;
document.querySelector('#main').replaceChildren(
  h('div', { class: 'home-head' }, h('h1', null, t('home.title')), chips),
  grid,
  note,
  moreButton,
  offline,
);
grid.append(...Array.from({ length: 6 }, () => h('div', { class: 'card skeleton', 'aria-hidden': 'true' }, h('div', { class: 'thumbnail' }))));

// The button is there for those who do not scroll.
new IntersectionObserver(([{ isIntersecting: reached }]) => reached && showMore(), { rootMargin: '600px' }).observe(moreButton);

await refresh();
showOffline();
setInterval(() => !document.hidden && refresh(), REFRESH_MS);
document.addEventListener('visibilitychange', () => !document.hidden && refresh());

async function refresh() {
  try {
    channels = await read();
  } catch (fault) {
    // What is on the page stays: a list of a minute ago is better than none.
    if (cards.size === 0) {
      grid.replaceChildren();
      note.replaceChildren(h('p', { class: 'fault' }, explain(fault)));
    }
    return;
  }
  grid.removeAttribute('aria-busy');
  draw();
}

/** All who are live, the most watched first. Whoever is on the page already keeps their place: nothing jumps away under a hand. */
async function read() {
  const all = [];
  let before = null;
  for (let page = 0; page < PAGES; page += 1) {
    const answer = await api.channels({ live: true, limit: PAGE, before });
    all.push(...answer.channels);
    before = answer.next;
    if (!before) break;
  }
  const places = new Map(channels.map(({ room }, place) => [room, place]));
  const place = ({ room }) => places.get(room) ?? places.size;
  return all.sort((a, b) => place(a) - place(b) || b.viewers - a.viewers || a.room.localeCompare(b.room));
}

function showMore() {
  drawn += DRAWN;
  draw();
}

function search(text) {
  query = text;
  drawn = DRAWN;
  history.replaceState(null, '', text ? `/?q=${encodeURIComponent(text)}` : '/');
  draw();
}

function matches(channel) {
  if (category !== null && channel.category !== category) return false;
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const text = `${called(channel)} ${channel.title} ${channel.category}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

function draw() {
  drawChips();
  const found = channels.filter(matches);
  const shown = found.slice(0, drawn);
  const elements = shown.map((channel) => {
    const card = cards.get(channel.room);
    if (card) card.update(channel);
    else cards.set(channel.room, new LiveCard(channel));
    return cards.get(channel.room).element;
  });
  const live = new Set(channels.map(({ room }) => room));
  for (const room of cards.keys()) if (!live.has(room)) cards.delete(room);
  // What stands where it should is not touched: moving a card takes the focus from it.
  elements.forEach((element, place) => grid.children[place] === element || grid.insertBefore(element, grid.children[place] ?? null));
  while (grid.children.length > elements.length) grid.lastChild.remove();
  grid.dataset.count = Math.min(shown.length, 3);
  moreButton.hidden = shown.length === found.length;
  if (channels.length === 0) note.replaceChildren(empty());
  else if (shown.length === 0) note.replaceChildren(h('p', { class: 'nothing' }, t('home.no_match')));
  else note.replaceChildren();
}

function drawChips() {
  const names = [...new Set(channels.map((channel) => channel.category).filter(Boolean))].sort();
  if (category !== null && !names.includes(category)) category = null;
  const chip = (name, text) => {
    const choose = () => {
      category = name;
      draw();
    };
    return h('button', { type: 'button', class: 'chip', 'aria-pressed': String(category === name), dir: 'auto', onclick: choose }, text);
  };
  const wanted = names.length > 1 ? [null, ...names] : [];
  const drawn = JSON.stringify([wanted, category]);
  if (chips.dataset.drawn === drawn) return;
  const focused = chips.contains(document.activeElement);
  chips.dataset.drawn = drawn;
  chips.replaceChildren(...wanted.map((name) => chip(name, name ?? t('home.all'))));
  if (focused) chips.querySelector('[aria-pressed=true]')?.focus();
}

function empty() {
  return h(
    'div',
    { class: 'empty' },
    h('img', { src: '/assets/logo.svg', alt: '', width: 88, height: 88 }),
    h('h2', null, t('home.empty')),
    h('p', null, t('home.empty_hint')),
    h('a', { class: 'button primary', href: '/studio' }, t('home.go_live')),
  );
}

async function showOffline() {
  const answer = await api.channels({ live: false, limit: OFFLINE }).catch(() => ({ channels: [] }));
  if (answer.channels.length === 0) return;
  offline.hidden = false;
  offline.replaceChildren(h('h2', { id: 'offline-title' }, t('home.offline')), h('div', { class: 'offline-grid' }, answer.channels.map(offlineLine)));
}
