// `/admin`: how the services and the read models are, rebuilds, dead letters. For operators; read anew every two seconds.

import { accountForms } from './account.js';
import { api, explain } from './api.js';
import { confirmed, openDialog } from './dialog.js';
import { h } from './dom.js';
import { showHeader } from './header.js';
import { ago, compact, date, knows, number, t } from './i18n.js';
import { session } from './session.js';
import { toast } from './toast.js';

const EVERY_MS = 2000;
/** Five minutes of each read model's lag. */
const KEPT = 150;
const COUNTS = new Set(['lag', 'age', 'rate', 'letters', 'tries']);

const main = document.querySelector('#main');
document.title = t('admin.page');
showHeader();
await session.ready;
session.addEventListener('change', () => location.reload(), { once: true });
if (!session.account) main.replaceChildren(h('h1', null, t('admin.title')), h('div', { class: 'surface' }, accountForms('login', () => location.reload())));
else if (!session.account.roles.includes('operator')) main.replaceChildren(h('div', { class: 'empty' }, h('h1', null, t('admin.title')), h('p', null, t('admin.operators_only')), h('code', null, `lemonair account role ${session.account.name} operator`)));
else show();

function show() {
  const services = h('div', { class: 'services', role: 'status', 'data-testid': 'services' });
  const models = h('div', { class: 'wide-table', 'data-testid': 'read-models' });
  const letters = h('div', { class: 'wide-table', 'data-testid': 'dead-letters' });
  const fault = h('p', { class: 'fault', role: 'alert', hidden: true });
  const past = new Map();
  main.replaceChildren(
    h('h1', null, t('admin.title')),
    fault,
    services,
    section('models', models),
    section('letters', letters),
  );
  refresh();

  async function refresh() {
    try {
      const [ready, { read_models: rows }, { dead_letters: open }] = await Promise.all([api.ready(), api.status(), api.deadLetters()]);
      fault.hidden = true;
      showServices(ready);
      showModels(rows);
      showLetters(open);
    } catch (problem) {
      fault.hidden = false;
      fault.textContent = explain(problem);
    }
    setTimeout(refresh, EVERY_MS);
  }

  function showServices(ready) {
    const of = (name) => ({ name, text: ready[name] === 'ok' ? t('admin.ok') : ready[name], bad: ready[name] !== 'ok' });
    const chips = ['kafka', 'registry', 'database'].map(of).map(({ name, text, bad }) => h('span', { class: bad ? 'service bad' : 'service' }, `${t(`admin.${name}`)}: ${text}`));
    if (ready.draining) chips.push(h('span', { class: 'service bad' }, t('admin.draining')));
    services.replaceChildren(...chips);
  }

  function showModels(rows) {
    const byModel = new Map();
    for (const row of rows) {
      const sum = byModel.get(row.projection) ?? { ...row, lag_records: 0, lag_seconds: 0 };
      sum.lag_records += row.lag_records;
      sum.lag_seconds = Math.max(sum.lag_seconds, row.lag_seconds);
      byModel.set(row.projection, sum);
    }
    for (const [name, { lag_records: lag }] of byModel) past.set(name, [...(past.get(name) ?? []), lag].slice(-KEPT));
    const body = [...byModel.values()].map((model) =>
      h(
        'tr',
        { 'data-testid': 'read-model', 'data-name': model.projection },
        h('th', { scope: 'row' }, model.projection),
        h('td', { class: model.lag_records ? 'count behind' : 'count' }, number(model.lag_records)),
        h('td', { class: 'count' }, t('admin.seconds', { n: Math.round(model.lag_seconds * 10) / 10 })),
        h('td', null, spark(past.get(model.projection))),
        h('td', { class: 'count' }, compact(model.rate)),
        h('td', null, model.owners.join(', ') || h('strong', { class: 'behind' }, t('admin.nobody'))),
        h('td', { class: 'count' }, number(model.dead_letters)),
        h('td', null, rebuild(model)),
        h('td', { class: 'cause', title: model.error_at && date(model.error_at) }, model.error && `${ago(model.error_at)}: ${model.error}`),
      ),
    );
    models.replaceChildren(table(['model', 'lag', 'age', 'lately', 'rate', 'owners', 'letters', 'rebuild', 'error'], body));
  }

  function rebuild({ projection, rebuild: last }) {
    if (!last) return null;
    if (last.state === 'done') return h('span', { title: date(last.updated_at) }, t('admin.rebuilt', { when: ago(last.updated_at) }));
    const paused = last.state === 'paused';
    const hold = () => act(() => api.holdRebuild(projection, paused ? 'continue' : 'pause'));
    return [
      h('progress', { max: Math.max(1, last.total), value: last.done, 'aria-label': t('admin.rebuild') }),
      ' ',
      last.state === 'cut_off' ? t('admin.cut_off') : h('button', { type: 'button', class: 'button', onclick: hold }, t(paused ? 'admin.continue' : 'admin.pause')),
    ];
  }

  function showLetters(open) {
    if (!open.length) return letters.replaceChildren(h('p', { class: 'nothing' }, t('admin.no_letters')));
    const body = open.map((letter) =>
      h(
        'tr',
        { 'data-testid': 'dead-letter' },
        h('td', null, h('button', { type: 'button', class: 'link mono', onclick: () => openLetter(letter.id) }, letter.id)),
        h('td', null, h('bdi', null, letter.key)),
        h('td', { title: date(letter.record_at) }, ago(letter.record_at)),
        h('td', { class: 'count' }, number(letter.tries)),
        h('td', { class: 'cause' }, letter.cause),
        h('td', null, h('div', { class: 'actions' }, h('button', { type: 'button', class: 'button', onclick: () => retry(letter.id) }, t('admin.retry')), h('button', { type: 'button', class: 'button danger', onclick: () => drop(letter.id) }, t('admin.drop')))),
      ),
    );
    letters.replaceChildren(table(['letter', 'key', 'when', 'tries', 'cause', 'actions'], body));
  }

  async function openLetter(id) {
    const letter = await api.deadLetter(id);
    openDialog(id, [h('p', null, letter.cause), h('pre', { class: 'mono' }, JSON.stringify({ ...letter.event, schema_id: letter.schema_id, bytes: letter.bytes, actions: letter.actions }, null, 2))], { wide: true });
  }

  function retry(id) {
    act(async () => {
      const { cause } = await api.retryLetter(id);
      toast(cause ? `${t('admin.still')} ${cause}` : t('admin.applied'), { kind: cause ? 'bad' : 'good' });
    });
  }

  async function drop(id) {
    if (await confirmed(t('admin.drop'), t('admin.drop_sure', { id }), t('admin.drop'))) act(() => api.dropLetter(id));
  }

  async function act(work) {
    try {
      await work();
    } catch (problem) {
      toast(explain(problem), { kind: 'bad' });
    }
  }
}

function section(name, content) {
  return h('section', { class: 'surface', 'aria-labelledby': `${name}-title` }, h('h2', { id: `${name}-title` }, t(`admin.${name}`)), content);
}

function table(columns, body) {
  const head = columns.map((name) => h('th', { scope: 'col', class: COUNTS.has(name) && 'count' }, knows(`admin.col_${name}`) ? t(`admin.col_${name}`) : ''));
  return h('table', null, h('thead', null, h('tr', null, head)), h('tbody', null, body));
}

const SVG = 'http://www.w3.org/2000/svg';

/** A line of the values, the newest at the right; flat at the foot while all are zero. */
function spark(values) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'spark');
  svg.setAttribute('viewBox', `0 0 ${KEPT} 28`);
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true');
  const most = Math.max(1, ...values);
  const line = document.createElementNS(SVG, 'polyline');
  line.setAttribute('points', values.map((value, place) => `${KEPT - values.length + place},${26 - (24 * value) / most}`).join(' '));
  line.setAttribute('vector-effect', 'non-scaling-stroke');
  svg.append(line);
  return svg;
}
