// The studio's form for what the chat asks of messages.

import { api } from './api.js';
import { h } from './dom.js';
import { faultLine, field, onSubmit } from './form.js';
import { t } from './i18n.js';
import { toast } from './toast.js';

const SLOW_S = [0, 3, 5, 10, 30, 60, 300];
const FOLLOW_MIN = [null, 0, 10, 60, 1440, 10080];
const SWITCHES = ['unique_messages', 'emote_only', 'hold_for_review', 'links_allowed'];

export function rulesForm(room) {
  const element = h('section', { class: 'surface', hidden: true });
  api.chatSettings(room).then(
    (settings) => {
      element.hidden = false;
      element.replaceChildren(form(room, settings));
    },
    () => null,
  );
  return element;
}

function form(room, settings) {
  const pace = choice('rules-slow', SLOW_S, settings.slow_mode_ms / 1000, (s) => (s ? t('rules.seconds', { n: s }) : t('rules.off')));
  const age = settings.followers_only_ms;
  const follow = choice('rules-follow', FOLLOW_MIN, age === null ? null : age / 60_000, (min) => (min === null ? t('rules.off') : min ? t('rules.minutes', { n: min }) : t('rules.any')));
  const switches = SWITCHES.map((name) => h('input', { type: 'checkbox', id: `rules-${name}`, checked: settings[name] }));
  const words = h('textarea', { id: 'rules-words', rows: 3, dir: 'auto', value: (settings.blocked_words ?? []).join('\n') });
  const line = faultLine();
  const element = h(
    'form',
    { class: 'stack', 'aria-labelledby': 'rules-title' },
    h('h2', { id: 'rules-title' }, t('rules.title')),
    h('div', { class: 'columns' }, field(t('rules.slow'), pace.element), field(t('rules.follow'), follow.element)),
    switches.map((input, n) => h('label', { class: 'check', for: input.id }, input, ' ', t(`rules.${SWITCHES[n]}`))),
    field(t('rules.words'), words, t('rules.words_hint')),
    line,
    h('div', { class: 'actions' }, h('button', { class: 'button primary', 'data-testid': 'rules-save' }, t('save'))),
  );
  onSubmit(element, line, async () => {
    const minutes = follow.value();
    await api.setChatSettings(room, {
      slow_mode_ms: pace.value() * 1000,
      followers_only_ms: minutes === null ? null : minutes * 60_000,
      blocked_words: words.value.split('\n').filter((word) => word.trim()),
      ...Object.fromEntries(switches.map((input, n) => [SWITCHES[n], input.checked])),
    });
    toast(t('saved'));
  });
  return element;
}

/** A list of values; one that was set elsewhere and is not among them stands with them. */
function choice(id, values, current, label) {
  const all = values.includes(current) ? values : [...values, current];
  const element = h('select', { id }, all.map((value, n) => h('option', { value: n, selected: value === current }, label(value))));
  return { element, value: () => all[element.selectedIndex] };
}
