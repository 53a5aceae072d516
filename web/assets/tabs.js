// Tabs as the ARIA pattern has them: arrows move, one panel shows. A panel may load when it is first shown.

import { h } from './dom.js';

/** `panels`: `[{ id, label, content, shown? }]`. */
export function tabs(label, panels) {
  const buttons = panels.map(({ id, label: text }) =>
    h('button', { type: 'button', role: 'tab', id: `tab-${id}`, 'aria-controls': `panel-${id}`, onclick: () => show(id) }, text),
  );
  const bodies = panels.map(({ id, content }) =>
    h('div', { role: 'tabpanel', id: `panel-${id}`, class: 'tab-panel', 'aria-labelledby': `tab-${id}` }, content),
  );
  const list = h('div', { role: 'tablist', class: 'tabs', 'aria-label': label }, buttons);
  list.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = (buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length;
    buttons[next].focus();
    buttons[next].click();
    event.preventDefault();
    event.stopPropagation();
  });

  /** Where not all tabs fit beside each other, the selected one stands in the middle, as far as the ends let it. */
  function intoView(button) {
    const [inside, box] = [button.getBoundingClientRect(), list.getBoundingClientRect()];
    list.scrollLeft += inside.left + inside.width / 2 - (box.left + box.width / 2);
  }

  function show(id) {
    panels.forEach((panel, place) => {
      const selected = panel.id === id;
      buttons[place].setAttribute('aria-selected', selected);
      buttons[place].tabIndex = selected ? 0 : -1;
      bodies[place].hidden = !selected;
      if (selected) intoView(buttons[place]);
      if (selected) panel.shown?.();
    });
  }

  show(panels[0].id);
  // As when a phone is turned.
  new ResizeObserver(() => intoView(buttons.find(({ tabIndex }) => tabIndex === 0))).observe(list);
  return [list, ...bodies];
}
