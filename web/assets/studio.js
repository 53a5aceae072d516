// `/studio`: the streamer's desk. An account first, then the steps until live, then everything about the broadcast.

import { accountForms } from './account.js';
import { api, explain } from './api.js';
import { after } from './broadcast.js';
import { Chat } from './chat.js';
import { donationDesk } from './desk.js';
import { h, icon } from './dom.js';
import { faultLine, field, onSubmit } from './form.js';
import { givingDesk } from './giving.js';
import { showHeader } from './header.js';
import { clock, compact, duration, number, t } from './i18n.js';
import { healthCard } from './health.js';
import { keyCard } from './key.js';
import { moderationDesk } from './moderation.js';
import { pastDesk } from './past.js';
import { Player } from './player.js';
import { queueDesk } from './queue.js';
import { rulesForm } from './rules.js';
import { session } from './session.js';
import { tabs } from './tabs.js';
import { copy, toast } from './toast.js';

const POLL_MS = 15_000;
const TILES_MS = 1_500;

const main = document.querySelector('#main');
document.title = t('studio.page');
showHeader();
await session.ready;
if (session.account) enter();
else welcome();

function enter() {
  open(session.account.name.toLowerCase());
  // Another account means another desk, and none of the old one's timers and lines may stay.
  session.addEventListener('change', () => location.reload(), { once: true });
}

function welcome() {
  main.replaceChildren(
    h(
      'div',
      { class: 'welcome' },
      h('div', null, h('h1', null, t('studio.welcome')), h('p', { class: 'lead' }, t('studio.welcome_hint')), h('ol', { class: 'steps-preview' }, ['account', 'key', 'obs'].map((step) => h('li', null, t(`studio.step_${step}`))))),
      h('div', { class: 'surface' }, accountForms('signup', enter)),
    ),
  );
}

async function open(room) {
  try {
    desk(room, await api.channel(room));
  } catch (fault) {
    main.replaceChildren(h('div', { class: 'empty' }, h('h1', null, explain(fault)), h('button', { type: 'button', class: 'button primary', onclick: () => location.reload() }, t('chat.retry'))));
  }
}

function desk(room, first) {
  let channel = first;
  let key = null;
  let counting = 0;
  const player = new Player();
  const donations = donationDesk(room);
  const moderation = moderationDesk(room);
  const giving = givingDesk(room);
  const health = healthCard(room);
  const status = h('div', { class: 'status', 'data-testid': 'studio-status', role: 'status' });
  const uptime = h('span', { class: 'uptime' });
  const viewers = h('strong', { 'data-testid': 'viewers' }, number(channel.viewers));
  const address = new URL(`/${encodeURIComponent(room)}`, location.href).href;
  const tiles = h('div', { class: 'tiles' });
  const past = pastDesk(room);
  const waiting = h('span', { class: 'badge', 'data-testid': 'queue-count', hidden: true });
  const connection = h('div', null);
  const chat = new Chat(room, heard);
  chat.moderates = true;
  const queue = queueDesk(room, chat.replies, (count) => {
    waiting.hidden = count === 0;
    waiting.textContent = number(count);
  });

  main.replaceChildren(
    h(
      'div',
      { class: 'studio' },
      h(
        'div',
        { class: 'studio-head' },
        h('h1', null, t('studio.title')),
        status,
        h('span', { class: 'meta', title: t('viewers') }, icon('eye'), viewers),
        uptime,
        h('span', { class: 'spacer' }),
        h('button', { type: 'button', class: 'button', onclick: () => copy(address, t('watch.shared')) }, icon('link'), t('watch.share')),
        h('a', { class: 'button', href: address }, t('studio.view')),
      ),
      h(
        'div',
        { class: 'studio-main' },
        connection,
        h('section', { class: 'surface preview', 'aria-label': t('studio.preview') }, player.element),
        health.element,
        tiles,
        h(
          'div',
          { class: 'desks' },
          tabs(t('studio.desks'), [
            { id: 'info', label: t('studio.info'), content: infoForm() },
            { id: 'giving', label: t('giving.title'), content: giving.element },
            { id: 'rules', label: t('rules.title'), content: rulesForm(room) },
            { id: 'moderation', label: t('moderation.title'), content: moderation.element },
            { id: 'past', label: t('studio.past'), content: past.element },
          ]),
        ),
      ),
      h(
        'aside',
        { class: 'panel surface', 'aria-label': t('watch.panel') },
        tabs(t('watch.panel'), [
          { id: 'chat', label: t('chat.title'), content: chat.element },
          { id: 'queue', label: [t('queue.title'), ' ', waiting], content: queue.element },
          { id: 'donations', label: t('donations.title'), content: donations.element, shown: donations.load },
        ]),
      ),
    ),
  );
  keyCard(room).then((card) => {
    key = card;
    connection.replaceChildren(card.element);
    card.live(channel.live);
  });
  draw();
  drawTiles();
  setInterval(drawUptime, 1000);
  setInterval(reread, POLL_MS);

  function heard(events) {
    const count = events.findLast(({ type }) => type === 'viewers');
    if (count) viewers.textContent = number(count.count);
    donations.heard(events);
    moderation.heard(events);
    queue.heard(events);
    giving.heard(events);
    // The read model follows the events closely; one reading a while is enough however many come.
    if (events.some(({ type }) => type.startsWith('donation.'))) counting ||= setTimeout(drawTiles, TILES_MS);
    const next = after(channel, events);
    if (next === channel) return;
    channel = next;
    draw();
    setTimeout(past.draw, 1500);
  }

  async function reread() {
    if (document.hidden) return;
    channel = await api.channel(room).catch(() => channel);
    draw();
    drawTiles();
  }

  function draw() {
    const state = channel.live ? (channel.interrupted ? 'interrupted' : 'live') : 'offline';
    status.dataset.state = state;
    status.textContent = state === 'live' && channel.started_at ? t('studio.live_since', { at: clock(channel.started_at) }) : t(`studio.${state}`);
    player.tell({ live: channel.live, interrupted: channel.interrupted, stream: channel.stream, hls: channel.hls ?? `/hls/${room}/index.m3u8` });
    player.idle(h('div', { class: 'idle' }, icon('broadcast'), h('p', null, t('studio.preview_idle'))));
    key?.live(channel.live);
    health.live(channel.live);
    drawUptime();
  }

  function drawUptime() {
    uptime.hidden = !channel.live || !channel.started_at;
    if (!uptime.hidden) uptime.textContent = duration(Date.now() - new Date(channel.started_at));
  }

  async function drawTiles() {
    clearTimeout(counting);
    counting = 0;
    const stats = await api.stats(room).catch(() => null);
    if (!stats) return;
    const tile = (name, value) => h('div', { class: 'tile', 'data-stat': name }, h('strong', null, value), h('span', null, t(`stats.${name}`)));
    tiles.replaceChildren(
      tile('followers', compact(stats.followers)),
      tile('messages', compact(stats.messages)),
      tile('chatters', compact(stats.chatters)),
      tile('donations', compact(stats.donations)),
      tile('donated', compact(stats.donated)),
      tile('streams', compact(stats.streams)),
    );
    donations.total(stats.donated);
  }

  function infoForm() {
    const title = h('input', { id: 'channel-title', maxlength: 140, dir: 'auto', value: channel.title });
    const category = h('input', { id: 'channel-category', maxlength: 40, dir: 'auto', value: channel.category });
    const description = h('textarea', { id: 'channel-description', maxlength: 2000, rows: 4, dir: 'auto', value: channel.description });
    const line = faultLine();
    const form = h(
      'form',
      { class: 'surface stack', 'aria-labelledby': 'info-title' },
      h('h2', { id: 'info-title' }, t('studio.info')),
      h('div', { class: 'columns' }, field(t('studio.title_of'), title), field(t('studio.category'), category)),
      field(t('studio.description'), description),
      line,
      h('div', { class: 'actions' }, h('button', { class: 'button primary', 'data-testid': 'channel-save' }, t('save'))),
    );
    onSubmit(form, line, async () => {
      channel = { ...channel, ...(await api.editChannel(room, { title: title.value.trim(), category: category.value.trim(), description: description.value.trim() })) };
      draw();
      toast(t('saved'));
    });
    return form;
  }
}
