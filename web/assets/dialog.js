// Modal dialogs on the native <dialog>: built when opened, removed when closed, so that no two hold the same ids.

import { h, iconButton } from './dom.js';
import { t } from './i18n.js';

let titles = 0;

/** Opens `content` under `title`; the answer is the dialog, whose `close()` ends it and whose `close` event tells. */
export function openDialog(title, content, { wide = false } = {}) {
  const id = `dialog-title-${(titles += 1)}`;
  const dialog = h(
    'dialog',
    { class: wide ? 'dialog wide' : 'dialog', 'aria-labelledby': id },
    h('div', { class: 'dialog-head' }, h('h2', { id }, title), iconButton('close', t('close'), { onclick: () => dialog.close() })),
    h('div', { class: 'dialog-body' }, content),
  );
  // Only a press that begins on the backdrop closes: a selection dragged out of a field must not.
  dialog.addEventListener('pointerdown', (event) => {
    if (event.target !== dialog) return;
    const box = dialog.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
    if (!inside) dialog.close();
  });
  dialog.addEventListener('close', () => {
    const toasts = dialog.querySelector('.toasts');
    if (toasts) document.body.append(toasts);
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Asks once before something that cannot be undone. */
export function confirmed(title, text, yes) {
  return new Promise((resolve) => {
    let answer = false;
    const accept = () => {
      answer = true;
      dialog.close();
    };
    const dialog = openDialog(title, [
      h('p', null, text),
      h(
        'div',
        { class: 'actions' },
        h('button', { type: 'button', class: 'button', autofocus: true, onclick: () => dialog.close() }, t('cancel')),
        h('button', { type: 'button', class: 'button danger', 'data-testid': 'confirm', onclick: accept }, yes),
      ),
    ]);
    dialog.addEventListener('close', () => resolve(answer));
  });
}
