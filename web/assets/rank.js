// The top donors of a channel, read when shown and after every donation while shown.

import { api, explain } from './api.js';
import { avatar } from './avatar.js';
import { h } from './dom.js';
import { number, points, t } from './i18n.js';
import { call } from './names.js';

const REFRESH_MS = 2_000;
const PERIODS = ['all', 'month', 'broadcast'];

export function rankList(room) {
  let pause = 0;
  const list = h('ol', { class: 'rank' });
  const note = h('p', { class: 'nothing' });
  const period = h('select', { class: 'rank-period', 'aria-label': t('rank.period'), 'data-testid': 'rank-period', onchange: () => load() }, PERIODS.map((name) => h('option', { value: name }, t(`rank.${name}`))));
  const anonymous = h('p', { class: 'hint', hidden: true });
  const element = h('div', { class: 'panel-scroll', tabindex: 0 }, period, list, anonymous, note);

  async function load() {
    try {
      const { rank, anonymous: nameless } = await api.rank(room, period.value);
      list.replaceChildren(...rank.map(line));
      anonymous.hidden = nameless.count === 0;
      anonymous.textContent = t('rank.nameless', { n: nameless.count, amount: points(nameless.total) });
      note.textContent = rank.length === 0 ? t('rank.empty') : '';
    } catch (fault) {
      note.textContent = explain(fault);
    }
  }

  /** After a donation: at most one reading in a while, however many there are, and none while nobody looks. */
  function refresh() {
    if (element.checkVisibility()) pause ||= setTimeout(reload, REFRESH_MS);
  }

  function reload() {
    pause = 0;
    load();
  }

  return { element, load, refresh };
}

function line({ rank, account, name, total, count }) {
  const donor = h('bdi', { class: 'rank-name' }, name);
  call(donor, { id: account, name });
  return h(
    'li',
    { 'data-rank': rank },
    h('span', { class: 'rank-place' }, number(rank)),
    avatar(name),
    donor,
    h('span', { class: 'rank-total' }, h('strong', null, points(total)), h('span', null, t('rank.times', { n: count }))),
  );
}
