// `/{room}`: the broadcast, what it is, and the room around it. The chat's events and a slow poll of the directory both
// say what the broadcast does; the poll is quicker while the chat line is down.

import { api, explain } from './api.js';
import { openAccount } from './account.js';
import { avatar } from './avatar.js';
import { after } from './broadcast.js';
import { Chat } from './chat.js';
import { h, icon, iconButton } from './dom.js';
import { openDonate } from './donate.js';
import { goalBar } from './goal.js';
import { showHeader } from './header.js';
import { duration, number, t } from './i18n.js';
import { linkify } from './linkify.js';
import { called } from './names.js';
import { Player } from './player.js';
import { rankList } from './rank.js';
import { recordingList } from './recordings.js';
import { session } from './session.js';
import { tabs } from './tabs.js';
import { toggleTheatre } from './theatre.js';
import { copy, toast } from './toast.js';

const POLL_MS = 60_000;
const ALONE_POLL_MS = 15_000;
// Everybody in a room hears of a change at once; their questions to the directory must not come at once.
const SPREAD_MS = 3_000;

const room = decodeURIComponent(location.pathname.slice(1)).toLowerCase();
const main = document.querySelector('#main');
let channel = null;
let chat = null;
let asking = 0;
let wasLive = null;

const past = recordingList(room);
const player = new Player({ theatre: toggleTheatre, chat: () => chat?.focus() });
const viewers = h('span', { 'data-testid': 'viewers' }, '0');
const uptime = h('span', { class: 'uptime' });
const title = h('h1', { class: 'watch-title', dir: 'auto' });
const owner = h('div', { class: 'owner' });
const category = h('a', { class: 'chip', dir: 'auto' });
const actions = h('div', { class: 'watch-actions' });
const about = h('div', { class: 'panel-scroll about', tabindex: 0 });

showHeader();

try {
  channel = await api.channel(room);
  show();
} catch (fault) {
  showFault(fault);
}

function show() {
  const rank = rankList(room);
  const goal = goalBar(room);
  chat = new Chat(room, (events) => heard(events, rank, goal));
  const panel = h(
    'aside',
    { class: 'panel', 'aria-label': t('watch.panel') },
    tabs(t('watch.panel'), [
      { id: 'chat', label: t('chat.title'), content: chat.element },
      { id: 'rank', label: t('rank.title'), content: rank.element, shown: rank.load },
      { id: 'about', label: t('about.title'), content: about },
    ]),
  );
  const info = h(
    'section',
    { class: 'watch-info' },
    owner,
    h('div', { class: 'watch-lines' }, title, h('p', { class: 'watch-meta' }, h('span', { class: 'meta', title: t('viewers') }, icon('eye'), viewers), uptime, category)),
    actions,
  );
  main.replaceChildren(h('div', { class: 'stage' }, player.element, info, goal.element, past.element), panel);
  draw();
  setInterval(drawUptime, 1000);
  ask();
  session.addEventListener('change', reread);
}

function draw() {
  const name = called(channel);
  document.title = `${channel.title || name} · Lemonair`;
  title.textContent = channel.title || t('home.untitled', { name });
  owner.replaceChildren(avatar(channel.name), h('div', { class: 'owner-lines' }, h('bdi', { class: 'owner-name' }, name), h('span', { class: 'owner-followers', 'data-testid': 'followers' }, t('followers', { n: channel.followers }))));
  category.textContent = channel.category;
  category.hidden = !channel.category;
  category.href = `/?q=${encodeURIComponent(channel.category)}`;
  viewers.textContent = number(channel.viewers);
  about.replaceChildren(
    h('h2', { dir: 'auto' }, t('about.of', { name })),
    channel.description ? h('p', { class: 'description', dir: 'auto' }, linkify(channel.description)) : h('p', { class: 'nothing' }, t('about.empty')),
  );
  drawActions();
  drawUptime();
  tellPlayer();
}

function drawActions() {
  chat.moderates = channel.you?.moderator ?? false;
  const mine = channel.you?.owner ?? session.account?.name.toLowerCase() === room;
  const following = channel.you?.following ?? false;
  // Only what changed is drawn: a button that is replaced under a finger is not pressed.
  const drawn = `${mine} ${following}`;
  if (actions.dataset.drawn === drawn) return;
  actions.dataset.drawn = drawn;
  const share = iconButton('link', t('watch.share'), { class: 'icon-button share', onclick: () => copy(location.href, t('watch.shared')) });
  if (mine) {
    actions.replaceChildren(h('a', { class: 'button', href: '/studio' }, icon('broadcast'), t('watch.to_studio')), share);
    return;
  }
  actions.replaceChildren(
    h('button', { type: 'button', class: 'button', 'data-testid': 'follow', 'aria-pressed': String(following), onclick: follow }, icon(following ? 'check' : 'heart'), h('span', null, t(following ? 'watch.following' : 'watch.follow'))),
    h('button', { type: 'button', class: 'button primary', 'data-testid': 'donate-open', onclick: () => openDonate(channel) }, icon('lemon'), t('donate.open')),
    share,
  );
}

function drawUptime() {
  uptime.hidden = !channel.live || !channel.started_at;
  if (!uptime.hidden) uptime.textContent = duration(Date.now() - new Date(channel.started_at));
}

function tellPlayer() {
  const { live, interrupted, stream, hls } = channel;
  player.tell({ live, interrupted, stream, hls: hls ?? `/hls/${room}/index.m3u8` });
  if (!live) player.idle(idle());
  if (live === wasLive) return;
  if (live) past.element.hidden = true;
  // A crowd whose broadcast has just ended does not ask together.
  else setTimeout(past.load, wasLive ? Math.random() * SPREAD_MS + 500 : 0);
  wasLive = live;
}

/** What stands in the place of the picture while there is no broadcast. */
function idle() {
  return h('div', { class: 'idle' }, avatar(channel.name), h('p', { class: 'idle-title' }, t('watch.offline', { name: called(channel) })), h('p', null, t('watch.offline_hint')));
}

function heard(events, rank, goal) {
  goal.heard(events);
  const count = events.findLast(({ type }) => type === 'viewers');
  if (count) viewers.textContent = number(count.count);
  if (events.some(({ type }) => type.startsWith('donation.'))) rank.refresh();
  const next = after(channel, events);
  if (next === channel) return;
  channel = next;
  draw();
  clearTimeout(asking);
  asking = setTimeout(ask, Math.random() * SPREAD_MS + 500, true);
}

/** Reads the channel again, and again later. */
async function ask(now = false) {
  if (now || !document.hidden) await reread();
  clearTimeout(asking);
  const pause = chat.connected ? POLL_MS : ALONE_POLL_MS;
  asking = setTimeout(ask, pause * (0.75 + Math.random() / 2));
}

async function reread() {
  const answer = await api.channel(room).catch(() => null);
  if (!answer) return;
  channel = answer;
  draw();
}

async function follow() {
  if (!session.account) {
    openAccount('signup');
    return;
  }
  const following = !channel.you?.following;
  const step = following ? 1 : -1;
  const set = (value, by) => {
    channel = { ...channel, you: { ...channel.you, following: value }, followers: channel.followers + by };
    draw();
  };
  // Shown at once and taken back when it fails: the button must feel like a button.
  set(following, step);
  try {
    await (following ? api.follow(room) : api.unfollow(room));
  } catch (fault) {
    set(!following, -step);
    toast(explain(fault), { kind: 'bad' });
  }
}

function showFault(fault) {
  const missing = fault.status === 404;
  document.title = 'Lemonair';
  main.replaceChildren(
    h(
      'div',
      { class: 'empty' },
      h('img', { src: '/assets/logo.svg', alt: '', width: 88, height: 88 }),
      h('h1', null, missing ? t('watch.missing') : explain(fault)),
      missing ? h('a', { class: 'button primary', href: '/' }, t('watch.home')) : h('button', { type: 'button', class: 'button primary', onclick: () => location.reload() }, t('chat.retry')),
    ),
  );
}
