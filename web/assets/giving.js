// The studio's part for donations: what is asked of them, how they are announced, and the goal.

import { api, explain } from './api.js';
import { confirmed } from './dialog.js';
import { h, iconButton } from './dom.js';
import { faultLine, field, onSubmit } from './form.js';
import { goalBar } from './goal.js';
import { t } from './i18n.js';
import { act, copy, toast } from './toast.js';

const REVIEWS = ['none', 'blocked', 'all'];

export function givingDesk(room) {
  const goal = goalBar(room);
  const addresses = h('div', { class: 'stack' });
  const settings = h('div', null);
  const element = h(
    'section',
    { class: 'surface stack', 'aria-labelledby': 'giving-title' },
    h('h2', { id: 'giving-title' }, t('giving.title')),
    addresses,
    h('div', { class: 'actions' }, ['test', 'skip', 'pause', 'resume', 'replay'].map(button)),
    settings,
    h('h3', null, t('goal.title')),
    goal.element,
    goalForm(),
  );
  draw();
  goal.load();

  async function draw() {
    const [key, asked] = await Promise.all([api.overlayKey(room), api.donationSettings(room)]).catch(() => []);
    if (!key) return;
    drawAddresses(key);
    settings.replaceChildren(settingsForm(room, asked));
  }

  function drawAddresses({ url, goal_url: goalUrl }) {
    addresses.replaceChildren(
      address('overlay-url', t('giving.alerts_url'), url, t('giving.url_hint'), iconButton('gear', t('giving.rotate'), { 'data-testid': 'overlay-rotate', onclick: rotate })),
      address('overlay-goal-url', t('giving.goal_url'), goalUrl),
    );
  }

  async function rotate() {
    if (!(await confirmed(t('giving.rotate'), t('giving.rotate_ask'), t('giving.rotate')))) return;
    await act(async () => drawAddresses(await api.rotateOverlayKey(room)));
  }

  function button(action) {
    return h('button', { type: 'button', class: 'button', 'data-testid': `alert-${action}`, onclick: () => act(() => api.cue(room, action)) }, t(`giving.${action}`));
  }

  function goalForm() {
    const title = h('input', { id: 'goal-title', maxlength: 80, required: true, dir: 'auto' });
    const target = h('input', { id: 'goal-target', type: 'number', inputmode: 'numeric', min: 1, step: 1, required: true });
    const line = faultLine();
    const form = h(
      'form',
      { class: 'stack' },
      h('div', { class: 'columns' }, field(t('goal.what'), title), field(t('goal.target'), target)),
      line,
      h(
        'div',
        { class: 'actions' },
        h('button', { type: 'button', class: 'button', 'data-testid': 'goal-close', onclick: () => act(() => api.closeGoal(room)) }, t('goal.close')),
        h('button', { class: 'button primary', 'data-testid': 'goal-start' }, t('goal.start')),
      ),
    );
    onSubmit(form, line, async () => {
      await api.startGoal(room, { title: title.value.trim(), target: Number(target.value) });
      form.reset();
    });
    return form;
  }

  return { element, heard: goal.heard };
}

function address(id, label, url, hint, more) {
  // Not to be read by whoever sees the streamer's screen: the key is in it.
  const input = h('input', { id, 'data-testid': id, class: 'mono', type: more ? 'password' : 'text', readonly: true, autocomplete: 'off', value: url });
  return h(
    'div',
    { class: 'field' },
    h('label', { for: id }, label),
    h('div', { class: 'with-buttons' }, input, iconButton('copy', t('giving.copy'), { onclick: () => copy(url, t('copied')) }), more),
    hint && h('p', { class: 'hint' }, hint),
  );
}

function settingsForm(room, asked) {
  const figure = (name, min, max, value) => h('input', { id: `giving-${name}`, type: 'number', inputmode: 'numeric', min, max, step: 1, required: true, value });
  const minimum = figure('minimum', 1, 1_000_000, asked.minimum);
  const least = figure('alert-minimum', 1, 1_000_000, asked.alert_minimum);
  const seconds = figure('seconds', 2, 60, Math.round(asked.alert_ms / 1000));
  const volume = figure('volume', 0, 100, asked.alert_volume);
  const review = h('select', { id: 'giving-review' }, REVIEWS.map((name) => h('option', { value: name, selected: name === asked.review }, t(`giving.review_${name}`))));
  const offline = h('input', { type: 'checkbox', id: 'giving-offline', checked: asked.accepts_offline });
  const line = faultLine();
  const form = h(
    'form',
    { class: 'stack' },
    h('div', { class: 'columns' }, field(t('giving.review'), review, t('giving.review_hint')), field(t('giving.minimum'), minimum)),
    h('label', { class: 'check', for: offline.id }, offline, ' ', t('giving.offline')),
    h('div', { class: 'columns even' }, field(t('giving.alert_minimum'), least), field(t('giving.seconds'), seconds), field(t('giving.volume'), volume)),
    line,
    h('div', { class: 'actions' }, h('button', { class: 'button primary', 'data-testid': 'giving-save' }, t('save'))),
  );
  onSubmit(form, line, async () => {
    await api.setDonationSettings(room, {
      minimum: Number(minimum.value),
      accepts_offline: offline.checked,
      review: review.value,
      alert_minimum: Number(least.value),
      alert_ms: Number(seconds.value) * 1000,
      alert_volume: Number(volume.value),
    });
    toast(t('saved'));
  });
  return form;
}
