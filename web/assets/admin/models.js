// Read models: how far each is, who keeps it up, and what operators do to it.

import { api } from '../api.js';
import { spark } from '../chart.js';
import { confirmed, openDialog } from '../dialog.js';
import { h } from '../dom.js';
import { ago, compact, date, duration, number, t } from '../i18n.js';
import { act } from '../toast.js';
import { button, redraw, table } from './table.js';

/** Five minutes of each one's lag. */
const KEPT = 300;

export function modelsDesk() {
  const element = h('div', { 'data-testid': 'read-models' });
  const past = new Map();
  /** Those whose partitions show. */
  const open = new Set();
  let rows = [];

  async function refresh() {
    ({ read_models: rows } = await api.status());
    const models = new Map();
    for (const row of rows) {
      const sum = models.get(row.projection) ?? { ...row, lag_records: 0, lag_seconds: 0, partitions: [] };
      sum.lag_records += row.lag_records;
      sum.lag_seconds = Math.max(sum.lag_seconds, row.lag_seconds);
      sum.partitions.push(...row.partitions.map((partition) => ({ topic: row.topic, ...partition })));
      models.set(row.projection, sum);
    }
    for (const [name, { lag_records: lag }] of models) past.set(name, [...(past.get(name) ?? []), lag].slice(-KEPT));
    draw([...models.values()]);
  }

  function draw(models) {
    const body = models.flatMap((model) => [summary(model), open.has(model.projection) && partitions(model)]).filter(Boolean);
    redraw(element, table(['model', 'lag', 'age', 'lately', 'rate', 'owners', 'letters', 'rebuild', 'actions'], body));
  }

  function summary(model) {
    const { projection: name, error, error_at: errorAt } = model;
    const toggle = () => {
      open.has(name) ? open.delete(name) : open.add(name);
      refresh();
    };
    return h(
      'tr',
      { 'data-testid': 'read-model', 'data-name': name, 'data-state': model.rebuild?.state ?? '' },
      h('th', { scope: 'row' }, h('button', { type: 'button', class: 'link', 'data-focus': `open-${name}`, 'aria-expanded': String(open.has(name)), onclick: toggle }, name)),
      h('td', { class: model.lag_records ? 'count behind' : 'count' }, number(model.lag_records)),
      h('td', { class: 'count' }, t('admin.seconds', { n: Math.round(model.lag_seconds * 10) / 10 })),
      h('td', null, spark(past.get(name), KEPT)),
      h('td', { class: 'count' }, compact(model.rate)),
      h('td', null, model.owners.join(', ') || h('strong', { class: 'behind' }, t('admin.nobody')), error && h('small', { class: 'cause', title: date(errorAt) }, `${ago(errorAt)}: ${error}`)),
      h('td', { class: 'count' }, number(model.dead_letters)),
      h('td', null, progress(model)),
      h('td', null, h('div', { class: 'actions' }, actions(model))),
    );
  }

  function partitions({ projection, partitions: all }) {
    const row = ({ topic, partition, position, end, lag_records: lag, lag_seconds: age, owner }) =>
      h('tr', null, h('td', null, `${topic}/${partition}`), h('td', { class: 'count' }, `${number(position)} / ${number(end)}`), h('td', { class: lag ? 'count behind' : 'count' }, number(lag)), h('td', { class: 'count' }, t('admin.seconds', { n: Math.round(age * 10) / 10 })), h('td', null, owner ?? '–'));
    return h('tr', { 'data-testid': 'partitions', 'data-name': projection }, h('td', { colspan: 9 }, table(['partition', 'offsets', 'lag', 'age', 'owners'], all.map(row))));
  }

  function progress({ projection: name, wish, rebuild: last }) {
    if (wish && !isRunning(last)) return h('span', { class: 'hint' }, t('admin.wished'));
    if (!last) return null;
    if (isRunning(last) || last.state === 'cut_off') {
      return [
        h('progress', { max: Math.max(1, last.total), value: last.done, 'aria-label': t('admin.rebuild') }),
        h('small', null, last.state === 'cut_off' ? t('admin.cut_off') : course(last)),
        last.state === 'cut_off' && last.fault && h('small', { class: 'cause behind' }, last.fault),
      ];
    }
    const when = h('span', { title: date(last.updated_at) }, t('admin.rebuilt', { when: ago(last.updated_at) }));
    if (last.fault) return [when, h('small', { class: 'cause behind' }, last.fault)];
    const differing = last.report?.comparison?.differing;
    if (differing === undefined) return when;
    if (differing === 0) return [when, h('small', null, t('admin.equal'))];
    return [when, h('button', { type: 'button', class: 'link', 'data-focus': `differences-${name}`, 'data-testid': 'differences', onclick: () => showDifferences(last.report) }, t('admin.differ', { n: differing }))];
  }

  function course({ state, done, total, rate }) {
    const said = [`${number(done)} / ${number(total)}`, t('admin.per_second', { n: Math.round(rate) })];
    if (state === 'running' && rate > 0) said.push(t('admin.left', { time: duration((1000 * Math.max(0, total - done)) / rate) }));
    return said.join(' · ');
  }

  function actions({ projection: name, wish, rebuild: last }) {
    const hold = (what) => button(`${what}-${name}`, t(`admin.${what}`), () => act(() => api.holdRebuild(name, what).then(refresh)), { 'data-testid': `rebuild-${what}` });
    if (last?.state === 'running') return hold('pause');
    if (last?.state === 'paused') return hold('continue');
    if (wish) return null;
    const wished = (what) => button(`${what}-${name}`, t(`admin.do_${what}`), () => ask(name, what), { 'data-testid': `rebuild-${what}` });
    // What was before the last rebuild is there only after one.
    return ['rebuild', 'verify', last?.state === 'done' && last.report?.swapped && 'rollback'].filter(Boolean).map(wished);
  }

  async function ask(name, what) {
    // Comparing changes nothing.
    if (what !== 'verify' && !(await confirmed(t(`admin.do_${what}`), t(`admin.sure_${what}`, { name }), t(`admin.do_${what}`)))) return;
    await act(() => api.wishRebuild(name, what).then(refresh));
  }

  return { element, refresh };
}

function isRunning(last) {
  return last?.state === 'running' || last?.state === 'paused';
}

function showDifferences({ projection, comparison }) {
  const row = ({ table: name, group, live, rebuilt }) => h('tr', null, h('td', null, name), h('td', null, h('bdi', null, group)), h('td', { class: 'count' }, number(live.rows)), h('td', { class: 'count' }, number(rebuilt.rows)));
  openDialog(`${projection}: ${t('admin.differ', { n: comparison.differing })}`, table(['table', 'group', 'live', 'rebuilt'], comparison.differences.map(row)), { wide: true });
}
