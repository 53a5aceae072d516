// Where one writes: Enter sends, the limit counts, names and emotes are completed, what is being answered stands above,
// and a refusal for haste counts down until the next message may go.

import { openAccount } from './account.js';
import { Completer } from './completer.js';
import { h, iconButton } from './dom.js';
import { emote, EMOTES } from './emotes.js';
import { number, t } from './i18n.js';
import { excerpt } from './replies.js';
import { session } from './session.js';

const LIMIT = 500;
const COUNT_FROM = 400;

export class Composer {
  #input = h('textarea', {
    class: 'chat-input',
    'data-testid': 'chat-input',
    rows: 1,
    dir: 'auto',
    placeholder: t('chat.placeholder'),
    'aria-label': t('chat.placeholder'),
    autocomplete: 'off',
    enterkeyhint: 'send',
  });
  #send = iconButton('send', t('chat.send'), { class: 'icon-button send', type: 'submit', 'data-testid': 'chat-send' });
  #answered = null;
  #whom = h('div', { class: 'answering', 'data-testid': 'answering', hidden: true });
  #note = h('p', { class: 'composer-note', role: 'status', hidden: true });
  #completer;
  #form;
  #guest;
  #until = 0;
  #blocked = false;
  #rules = null;
  #onSend;

  /** `names` answers who could be mentioned. */
  constructor(onSend, names) {
    this.#onSend = onSend;
    this.#completer = new Completer(this.#input, names);
    const picker = emotePicker((code) => this.#insert(code));
    const open = iconButton('smile', t('chat.emotes'), { popovertarget: picker.id, 'data-testid': 'emotes-open' });
    this.#form = h('form', { class: 'composer-form', hidden: true }, this.#input, open, this.#send);
    this.#guest = h(
      'div',
      { class: 'composer-guest', hidden: true },
      h('button', { type: 'button', class: 'button block', onclick: () => openAccount('login') }, t('chat.log_in')),
    );
    this.element = h('div', { class: 'composer' }, this.#note, this.#completer.element, this.#whom, this.#form, picker, this.#guest);
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#input.addEventListener('input', () => this.#refresh());
    this.#input.addEventListener('keydown', (event) => {
      // While a syllable is being composed, as Korean always is, Enter ends the syllable and not the message.
      if (event.isComposing || this.#completer.key(event)) return;
      if (event.key === 'Escape' && this.#answered) this.answer(null);
      else if (event.key === 'Escape') this.#input.blur();
      if (event.key !== 'Enter') return;
      event.preventDefault();
      this.#submit();
    });
    session.addEventListener('change', () => this.#refresh());
    // Neither is shown until it is known which.
    session.ready.then(() => this.#refresh());
  }

  /** No message before `ms` have passed. */
  holdFor(ms) {
    this.#until = Date.now() + ms;
    this.#countDown();
  }

  /** No message at all any more, and why. */
  block(why) {
    this.#blocked = true;
    this.#say(why);
    this.#refresh();
  }

  unblock() {
    if (!this.#blocked) return;
    this.#blocked = false;
    this.#refresh();
  }

  /** What stands above the input while there is nothing more urgent to say: the rules, in a line. */
  set rules(text) {
    this.#rules = text;
    this.#refresh();
  }

  focus() {
    if (this.#form.hidden) openAccount('login');
    else this.#input.focus();
  }

  /** Which message the next one answers. */
  get answered() {
    return this.#answered;
  }

  /** The next message answers this one, `{ id, from, text }`, or again none. */
  answer(message) {
    this.#answered = message?.id ?? null;
    this.#whom.replaceChildren();
    if (!message) {
      this.#input.removeAttribute('aria-describedby');
      this.#refresh();
      return;
    }
    const cancel = () => {
      this.answer(null);
      this.#input.focus();
    };
    this.#whom.append(
      h(
        'div',
        { class: 'answering-words', id: 'answering' },
        h('bdi', { class: 'quoted-name' }, t('chat.answering', { name: message.from?.name ?? t('nobody') })),
        h('bdi', { class: 'quoted-text', dir: 'auto' }, excerpt(message.text)),
      ),
      iconButton('close', t('chat.answer_cancel'), { class: 'icon-button', 'data-testid': 'answer-cancel', onclick: cancel }),
    );
    this.#input.setAttribute('aria-describedby', 'answering');
    this.#refresh();
    this.focus();
  }

  #insert(code) {
    const { selectionStart: start, selectionEnd: end, value } = this.#input;
    const before = start > 0 && !/\s$/.test(value.slice(0, start)) ? ' ' : '';
    this.#input.setRangeText(`${before}${code} `, start, end, 'end');
    this.#refresh();
    this.#input.focus();
  }

  #submit() {
    const text = this.#input.value.replace(/\s+/g, ' ').trim();
    if (text === '' || this.#send.disabled) return;
    this.#onSend(text, this.#answered ?? undefined);
    this.#input.value = '';
    this.answer(null);
    this.#input.focus();
  }

  #countDown() {
    const left = this.#until - Date.now();
    if (left > 0) setTimeout(() => this.#countDown(), Math.min(left, 250));
    this.#refresh();
  }

  #refresh() {
    const signedIn = session.account !== null;
    this.#form.hidden = !signedIn;
    this.#guest.hidden = signedIn;
    this.#whom.hidden = !signedIn || !this.#answered;
    const length = Array.from(this.#input.value).length;
    const left = this.#until - Date.now();
    this.#send.disabled = length > LIMIT || left > 0 || this.#blocked;
    this.#input.disabled = this.#blocked;
    this.#grow();
    if (this.#blocked) return;
    if (left > 0) this.#say(t('chat.wait', { seconds: Math.ceil(left / 1000) }));
    else if (length > COUNT_FROM) this.#say(`${number(length)}/${number(LIMIT)}`, length > LIMIT);
    else this.#say(this.#rules);
  }

  // One line that grows with its text; the stylesheet sets where it stops.
  #grow() {
    this.#input.style.height = 'auto';
    if (this.#input.value) this.#input.style.height = `calc(${this.#input.scrollHeight}px + 2px)`;
  }

  #say(text, bad = false) {
    this.#note.hidden = !text;
    this.#note.classList.toggle('bad', bad);
    if (this.#note.textContent !== (text ?? '')) this.#note.textContent = text ?? '';
  }
}

function emotePicker(insert) {
  const choose = (name) => {
    picker.hidePopover();
    insert(`:${name}:`);
  };
  const buttons = EMOTES.map((name) => h('button', { type: 'button', class: 'icon-button', 'aria-label': `:${name}:`, onclick: () => choose(name) }, emote(name)));
  const picker = h('div', { class: 'emotes', id: 'emotes', popover: 'auto', role: 'group', 'aria-label': t('chat.emotes') }, buttons);
  return picker;
}
