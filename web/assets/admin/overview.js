// How everything is: what the gateway stands on, which processes are up, and how much there was to do lately.

import { api } from '../api.js';
import { chart } from '../chart.js';
import { h } from '../dom.js';
import { ago, compact, date, number, t } from '../i18n.js';
import { redraw, table } from './table.js';

/** Five minutes. */
const KEPT = 300;

/** What is drawn, out of the read models' rows: sums over all of them, or the worst. */
const DRAWN = {
  rate: [(rows) => rows.reduce((sum, { rate }) => sum + rate, 0), (value) => t('admin.per_second', { n: Math.round(value) })],
  lag: [(rows) => rows.reduce((sum, { lag_records: lag }) => sum + lag, 0), number],
  age: [(rows) => Math.max(0, ...rows.map(({ lag_seconds: age }) => age)), (value) => t('admin.seconds', { n: Math.round(value * 10) / 10 })],
};

export function overviewDesk() {
  const services = h('div', { class: 'services', role: 'status', 'data-testid': 'services' });
  const plots = Object.entries(DRAWN).map(([name, [value, format]]) => ({ value, format, ...chart(t(`admin.plot_${name}`), { format, time: (at) => new Date(at).toTimeString().slice(0, 8) }) }));
  const processes = h('div', { 'data-testid': 'processes' });
  const element = h('div', { class: 'stack' }, services, h('div', { class: 'charts' }, plots.map((plot) => plot.element)), h('h2', null, t('admin.processes')), processes);
  let past = [];

  async function refresh() {
    const [ready, status] = await Promise.all([api.ready(), api.status()]);
    showServices(ready);
    // A model's rate is told once for each of its topics.
    const rows = status.read_models;
    const own = rows.filter((row, place) => rows.findIndex(({ projection }) => projection === row.projection) === place);
    past = [...past, { at: Date.now(), rate: DRAWN.rate[0](own), lag: DRAWN.lag[0](rows), age: DRAWN.age[0](rows) }].slice(-KEPT);
    Object.keys(DRAWN).forEach((name, place) => plots[place].draw(past.map((then) => ({ at: then.at, value: then[name] })), plots[place].format(past.at(-1)[name])));
    showProcesses(status.processes);
  }

  function showServices(ready) {
    const of = (name) => ({ name, text: ready[name] === 'ok' ? t('admin.ok') : ready[name], bad: ready[name] !== 'ok' });
    const chips = ['kafka', 'registry', 'database'].map(of).map(({ name, text, bad }) => h('span', { class: bad ? 'service bad' : 'service' }, `${t(`admin.${name}`)}: ${text}`));
    if (ready.draining) chips.push(h('span', { class: 'service bad' }, t('admin.draining')));
    services.replaceChildren(...chips);
  }

  function showProcesses(all) {
    const row = ({ process, services: runs, version, started_at: started, seen_at: seen, gone }) =>
      h(
        'tr',
        { 'data-testid': 'process' },
        h('th', { scope: 'row', class: 'mono' }, process),
        h('td', null, runs.map((name) => h('span', { class: gone ? 'service bad' : 'service' }, t(`admin.service_${name}`)))),
        h('td', { class: 'count' }, version),
        h('td', { title: date(started) }, ago(started)),
        h('td', { class: gone && 'behind' }, gone ? t('admin.gone', { when: ago(seen) }) : t('admin.up')),
      );
    redraw(processes, table(['process', 'runs', 'version', 'since', 'state'], all.map(row)));
  }

  return { element, refresh };
}
