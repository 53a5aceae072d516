// Values over time as one filled line of SVG, drawn anew when there are more. Read out as words; a pointer shows single values.

import { h } from './dom.js';
import { clock, number } from './i18n.js';

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 600;
const HEIGHT = 100;
const TOP = 22;

/** `points` of `draw` are `{ at, value }`, the oldest first; `sum` says all of them in words. */
export function chart(label, { format = number, time = clock } = {}) {
  const area = svg('path', { class: 'chart-area' });
  const line = svg('path', { class: 'chart-line', 'vector-effect': 'non-scaling-stroke' });
  const mark = svg('line', { class: 'chart-mark', y1: 0, y2: HEIGHT, 'vector-effect': 'non-scaling-stroke', visibility: 'hidden' });
  const plot = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  plot.append(area, line, mark);
  const said = h('strong', null);
  const top = h('span', { class: 'chart-top' });
  const [first, last] = [h('span'), h('span')];
  const element = h('figure', { class: 'chart' }, h('figcaption', null, h('span', null, label), said), h('div', { class: 'chart-plot' }, top, plot), h('div', { class: 'chart-span' }, first, last));
  let points = [];
  let sum = '';

  plot.addEventListener('pointermove', ({ offsetX }) => {
    if (points.length === 0) return;
    const place = Math.min(points.length - 1, Math.max(0, Math.round((offsetX / plot.clientWidth) * (points.length - 1))));
    mark.setAttribute('x1', x(place));
    mark.setAttribute('x2', x(place));
    mark.setAttribute('visibility', 'visible');
    said.textContent = `${time(points[place].at)} · ${format(points[place].value)}`;
  });
  plot.addEventListener('pointerleave', () => {
    mark.setAttribute('visibility', 'hidden');
    said.textContent = sum;
  });

  const x = (place) => (points.length === 1 ? WIDTH : (place / (points.length - 1)) * WIDTH);

  function draw(fresh, words) {
    points = fresh;
    sum = words;
    const most = Math.max(1, ...points.map(({ value }) => value));
    // The highest value stays below the words above it.
    const y = (value) => HEIGHT - 2 - (value / most) * (HEIGHT - TOP);
    const places = points.map(({ value }, place) => `${x(place).toFixed(1)},${y(value).toFixed(1)}`);
    // One value alone is a level line.
    if (points.length === 1) places.unshift(`0,${y(points[0].value).toFixed(1)}`);
    line.setAttribute('d', places.length ? `M${places.join('L')}` : '');
    area.setAttribute('d', places.length ? `M0,${HEIGHT}L${places.join('L')}L${WIDTH},${HEIGHT}Z` : '');
    if (mark.getAttribute('visibility') === 'hidden') said.textContent = sum;
    top.textContent = points.length ? format(most) : '';
    first.textContent = points.length ? time(points[0].at) : '';
    last.textContent = points.length > 1 ? time(points.at(-1).at) : '';
  }

  return { element, draw };
}

/** A line alone, for a cell of a table: the newest value at the right, flat at the foot while all are zero. */
export function spark(values, kept) {
  const most = Math.max(1, ...values);
  const plot = svg('svg', { class: 'spark', viewBox: `0 0 ${kept} 28`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  plot.append(svg('polyline', { points: values.map((value, place) => `${kept - values.length + place},${26 - (24 * value) / most}`).join(' '), 'vector-effect': 'non-scaling-stroke' }));
  return plot;
}

function svg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
