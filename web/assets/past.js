// The studio's past broadcasts: what came of each, and how it went over its time.

import { api, explain } from './api.js';
import { chart } from './chart.js';
import { confirmed } from './dialog.js';
import { h, icon } from './dom.js';
import { clock, compact, date, duration, number, points, t } from './i18n.js';
import { act } from './toast.js';

const SHOWN = 10;

/** What is drawn of a broadcast's course: how each is summed up in words. */
const DRAWN = {
  viewers: { format: number, sum: ({ peak_viewers: peak }) => t('past.peak', { n: peak }) },
  messages: { format: number, sum: ({ messages, chatters }) => t('past.said', { messages: number(messages), chatters: number(chatters) }) },
  donated: { format: points, sum: ({ donated }) => points(donated) },
};

export function pastDesk(room) {
  const list = h('div', { class: 'past-list' });
  const element = h('section', { class: 'surface stack', 'aria-labelledby': 'past-title', 'data-testid': 'past' }, h('h2', { id: 'past-title' }, t('studio.past')), list);
  /** Those that are open stay so when the list is read again. */
  const open = new Set();

  async function draw(page = null, rows = []) {
    const answer = await api.streams(room, { limit: SHOWN, before: page }).catch(() => null);
    if (!answer) return;
    const all = [...rows, ...answer.streams];
    list.replaceChildren(
      ...(all.length === 0 ? [h('p', { class: 'nothing' }, t('studio.past_empty'))] : all.map(broadcast)),
      answer.next ? h('button', { type: 'button', class: 'button', onclick: () => draw(answer.next, all) }, t('more')) : '',
    );
  }

  function broadcast(stream) {
    const { id, title, started_at: started, ended_at: ended, duration_ms: ms, totals } = stream;
    const body = h('div', { class: 'past-body' });
    const figure = (name, value) => h('span', null, h('strong', null, value), ' ', t(`past.${name}`));
    const details = h(
      'details',
      { class: 'past', 'data-testid': 'past-stream', 'data-id': id },
      h(
        'summary',
        null,
        h('bdi', { class: 'past-name', dir: 'auto' }, title || t('past.untitled')),
        h('span', { class: 'hint' }, `${date(started)} · ${ended ? duration(ms) : t('live')}`),
        h('span', { class: 'past-figures' }, figure('viewers', compact(totals.peak_viewers)), figure('chatters', compact(totals.chatters)), figure('messages', compact(totals.messages)), figure('points', compact(totals.donated)), totals.new_followers > 0 && figure('followers', `+${compact(totals.new_followers)}`)),
      ),
      body,
    );
    details.addEventListener('toggle', () => {
      if (!details.open) return open.delete(id);
      open.add(id);
      drawCourse(body, stream);
    });
    details.open = open.has(id);
    return details;
  }

  async function drawCourse(body, stream) {
    try {
      const course = await api.course(room, stream.id);
      const unit = course.step_seconds === 60 ? t('past.a_minute') : t('past.in_minutes', { n: course.step_seconds / 60 });
      const plots = Object.entries(DRAWN).map(([name, { format, sum }]) => {
        const plot = chart(`${t(`past.plot_${name}`)}${name === 'viewers' ? '' : ` ${unit}`}`, { format, time: clock });
        plot.draw(course.points.map((point) => ({ at: point.at, value: point[name] })), sum(course.totals));
        plot.element.dataset.plot = name;
        return plot.element;
      });
      body.replaceChildren(h('div', { class: 'charts' }, plots), recorded(stream) ?? '');
    } catch (fault) {
      body.replaceChildren(h('p', { class: 'nothing' }, explain(fault)));
    }
  }

  function recorded({ id, recording }) {
    if (!recording || recording === 'live') return null;
    const remove = async () => {
      if (!(await confirmed(t('past.delete'), t('past.delete_ask'), t('past.delete')))) return;
      if (await act(() => api.deleteRecording(id), t('past.deleted'))) line.remove();
    };
    const line = h(
      'div',
      { class: 'actions' },
      h('button', { type: 'button', class: 'button', 'data-testid': 'past-delete', onclick: remove }, t('past.delete')),
      h('a', { class: 'button', 'data-testid': 'past-watch', href: `/recordings/${encodeURIComponent(id)}` }, icon('play'), t('past.watch')),
    );
    return line;
  }

  draw();
  return { element, draw };
}
