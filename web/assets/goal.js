// A channel's goal and how far it has come: on the watch page, in the studio and as an overlay.

import { api } from './api.js';
import { h } from './dom.js';
import { number, t } from './i18n.js';

export function goalBar(room) {
  const title = h('bdi', { class: 'goal-title', dir: 'auto' });
  const figures = h('span', { class: 'goal-figures' });
  const bar = h('progress', { class: 'goal-bar' });
  const element = h('section', { class: 'goal', 'data-testid': 'goal', 'aria-label': t('goal.title'), hidden: true }, h('p', { class: 'goal-head' }, title, figures), bar);
  let goal = null;
  /** How often the line spoke of goals. */
  let told = 0;

  function draw() {
    element.hidden = goal === null;
    if (!goal) return;
    title.textContent = goal.title;
    figures.textContent = t('goal.figures', { amount: number(goal.amount), target: number(goal.target), percent: number(Math.floor((goal.amount / goal.target) * 100)) });
    bar.max = goal.target;
    bar.value = Math.min(goal.amount, goal.target);
    bar.setAttribute('aria-label', goal.title);
    element.dataset.amount = goal.amount;
    element.dataset.reached = goal.amount >= goal.target ? 'yes' : 'no';
  }

  async function load() {
    const before = told;
    const answer = await api.goal(room).catch(() => null);
    // What the line said meanwhile is newer.
    if (!answer || told !== before) return;
    goal = answer.goal;
    draw();
  }

  const over = new Set();
  function heard(events) {
    for (const event of events) {
      if (event.type.startsWith('goal.')) told += 1;
      if (event.type === 'goal.started') goal = { id: event.id, title: event.title, target: event.target, amount: 0 };
      else if (event.type === 'goal.closed') over.add(event.goal);
      else if (event.type === 'goal.progress') goal = event.goal;
      // After a line that was down: what moved meanwhile was told to others.
      else if (event.type === 'joined') load();
    }
    if (over.has(goal?.id)) goal = null;
    draw();
  }

  return { element, load, heard };
}
