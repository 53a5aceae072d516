// Kafka: the brokers, and who leads and follows each partition of our topics.

import { api } from '../api.js';
import { h } from '../dom.js';
import { number, t } from '../i18n.js';
import { redraw, table } from './table.js';

export function clusterDesk() {
  const brokers = h('div', { class: 'services' });
  const topics = h('div', { 'data-testid': 'topics' });
  const element = h('div', { class: 'stack' }, brokers, topics);

  async function refresh() {
    const cluster = await api.cluster();
    const led = (id) => cluster.partitions.filter(({ leader }) => leader === id).length;
    brokers.replaceChildren(...cluster.brokers.map(({ id, address }) => h('span', { class: 'service', 'data-testid': 'broker' }, `${id} · ${address} · ${t('admin.leads', { n: led(id) })}`)));
    const names = [...new Set(cluster.partitions.map(({ topic }) => topic))];
    redraw(topics, table(['topic', 'partitions', 'leaders', 'copies', 'records', 'offsets'], names.map((name) => row(name, cluster.partitions.filter(({ topic }) => topic === name)))));
  }

  function row(name, partitions) {
    const short = partitions.filter(({ replicas, in_sync: sync, leader }) => sync.length < replicas.length || leader < 0);
    const records = partitions.reduce((sum, { low, high }) => sum + high - low, 0);
    return h(
      'tr',
      { 'data-testid': 'topic', 'data-name': name },
      h('th', { scope: 'row' }, name),
      h('td', { class: 'count' }, number(partitions.length)),
      h('td', null, [...new Set(partitions.map(({ leader }) => leader))].join(', ')),
      h('td', { class: short.length > 0 && 'behind' }, short.length ? t('admin.short', { partitions: short.map(({ partition }) => partition).join(', ') }) : t('admin.in_sync', { n: partitions[0].replicas.length })),
      h('td', { class: 'count' }, number(records)),
      h('td', { class: 'count mono' }, partitions.map(({ partition, low, high }) => h('div', null, `${partition}: ${low ? `${number(low)}–` : ''}${number(high)}`))),
    );
  }

  return { element, refresh };
}
