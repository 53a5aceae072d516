// The studio's moderation: who is banned, timed out or a moderator, with a way back each, and the log of what was done.

import { api, explain } from './api.js';
import { confirmed } from './dialog.js';
import { h } from './dom.js';
import { faultLine, field, onSubmit } from './form.js';
import { date, knows, t } from './i18n.js';
import { tabs } from './tabs.js';
import { act, toast } from './toast.js';

const LOGGED = 20;
const TIMEOUT_S = 600;
/** The read model follows the events closely; one reading a while is enough however many come. */
const REREAD_MS = 1_000;

/** What may be done to somebody, and taken back. */
const STANDINGS = {
  bans: { put: api.ban, undo: api.unban },
  timeouts: { put: (room, account) => api.timeOut(room, account, TIMEOUT_S), undo: api.liftTimeout },
  moderators: { put: api.addModerator, undo: api.removeModerator },
};

export function moderationDesk(room) {
  const lists = Object.fromEntries([...Object.keys(STANDINGS), 'log'].map((name) => [name, h('div', { class: 'standings', 'data-testid': `list-${name}` })]));
  let shown = 'bans';
  let rereading = 0;
  const panel = (name) => ({ id: name, label: t(`moderation.${name}`), content: lists[name], shown: () => draw((shown = name)) });
  const element = h(
    'section',
    { class: 'surface moderation', 'aria-labelledby': 'moderation-title' },
    h('div', { class: 'moderation-head' }, h('h2', { id: 'moderation-title' }, t('moderation.title')), h('button', { type: 'button', class: 'button', 'data-testid': 'clear-chat', onclick: clear }, t('moderation.clear'))),
    personForm(),
    tabs(t('moderation.title'), Object.keys(lists).map(panel)),
  );

  function heard(events) {
    if (!events.some(({ type }) => /^(member|moderator|chat)\.(?!message|held)/.test(type))) return;
    rereading ||= setTimeout(() => draw(shown), REREAD_MS);
  }

  function draw(name) {
    clearTimeout(rereading);
    rereading = 0;
    return (name === 'log' ? drawLog() : drawStandings(name)).catch((fault) => lists[name].replaceChildren(h('p', { class: 'nothing' }, explain(fault))));
  }

  async function drawStandings(name) {
    const { [name]: standings } = await api.standings(room, name);
    const row = ({ account, name: who, since, until, reason }) =>
      h(
        'li',
        { 'data-account': account },
        h('div', null, h('bdi', { class: 'standing-name' }, who), h('p', { class: 'hint' }, [until ? t('moderation.until', { at: date(until) }) : t('moderation.since', { at: date(since) }), reason].filter(Boolean).join(' · '))),
        h('button', { type: 'button', class: 'button', 'data-testid': 'undo', 'aria-label': `${t(`moderation.undo_${name}`)}: ${who}`, onclick: () => attempt(() => STANDINGS[name].undo(room, account), name) }, t(`moderation.undo_${name}`)),
      );
    lists[name].replaceChildren(standings.length === 0 ? h('p', { class: 'nothing' }, t(`moderation.none_${name}`)) : h('ul', null, standings.map(row)));
  }

  async function drawLog(page = null, rows = []) {
    const { audit, next } = await api.audit(room, { limit: LOGGED, before: page });
    const all = [...rows, ...audit];
    lists.log.replaceChildren(
      all.length === 0 ? h('p', { class: 'nothing' }, t('moderation.none_log')) : h('ol', null, all.map(logged)),
      next ? h('button', { type: 'button', class: 'button', onclick: () => act(() => drawLog(next, all)) }, t('more')) : '',
    );
  }

  function personForm() {
    const name = h('input', { id: 'moderation-name', maxlength: 24, required: true, autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false' });
    const choice = h('select', { id: 'moderation-act' }, Object.keys(STANDINGS).map((kind) => h('option', { value: kind }, t(`moderation.do_${kind}`))));
    const line = faultLine();
    const form = h('form', { class: 'stack' }, h('div', { class: 'moderation-form' }, field(t('account.name'), name), field(t('moderation.act'), choice), h('button', { class: 'button primary', 'data-testid': 'moderate' }, t('moderation.go'))), line);
    onSubmit(form, line, async () => {
      await STANDINGS[choice.value].put(room, name.value.trim());
      name.value = '';
      toast(t('done'));
      element.querySelector(`#tab-${choice.value}`).click();
    });
    return form;
  }

  async function clear() {
    if (!(await confirmed(t('moderation.clear'), t('moderation.clear_ask'), t('moderation.clear')))) return;
    await attempt(() => api.clearChat(room), shown);
  }

  function attempt(work, name) {
    return act(() => work().then(() => draw(name)), t('done'));
  }

  return { element, heard };
}

/** A line of the log: when, who, what, to whom, why. */
function logged({ at, action, actor, target, detail }) {
  const what = knows(`audit.${action}`) ? t(`audit.${action}`) : action;
  return h(
    'li',
    { 'data-action': action },
    h('time', { class: 'hint', datetime: at }, date(at)),
    h('p', null, h('bdi', { class: 'standing-name' }, actor?.name ?? t('nobody')), ' · ', what, target ? [' · ', h('bdi', { class: 'standing-name' }, target.name)] : null, detail?.reason ? [' · ', h('bdi', null, detail.reason)] : null),
  );
}
