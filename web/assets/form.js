// What the forms share: a labelled field, and a submit that runs once at a time and shows its fault.

import { explain } from './api.js';
import { h } from './dom.js';

export function field(label, control, hint) {
  const hintId = hint ? `${control.id}-hint` : null;
  if (hintId) control.setAttribute('aria-describedby', hintId);
  return h('div', { class: 'field' }, h('label', { for: control.id }, label), control, hint && h('p', { class: 'hint', id: hintId }, hint));
}

/** The line under a form where its fault is told. */
export function faultLine() {
  return h('p', { class: 'fault', role: 'alert', hidden: true });
}

export function tellFault(line, text) {
  line.hidden = !text;
  line.textContent = text ?? '';
}

/** Runs `work` on submit. While it runs the form is busy, and a second click or Enter does nothing. */
export function onSubmit(form, line, work) {
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (form.getAttribute('aria-busy') === 'true') return;
    form.setAttribute('aria-busy', 'true');
    tellFault(line, null);
    try {
      await work();
    } catch (fault) {
      tellFault(line, explain(fault));
    } finally {
      form.removeAttribute('aria-busy');
    }
  });
}
