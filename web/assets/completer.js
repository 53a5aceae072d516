// Suggestions while one writes: names behind `@`, emotes behind `:`, in a list above the input.

import { h } from './dom.js';
import { emote, EMOTES } from './emotes.js';

const MOST = 6;
const BEGUN = /(?:^|\s)(@[\p{L}\p{N}_-]*|:[a-z]{1,12})$/u;

export class Completer {
  #input;
  #names;
  #choices = [];
  #chosen = 0;

  /** `names` answers whom one could mean, likeliest first. */
  constructor(input, names) {
    this.#input = input;
    this.#names = names;
    this.element = h('ul', { class: 'completer', id: 'completer', role: 'listbox', 'aria-label': input.getAttribute('aria-label'), hidden: true });
    input.setAttribute('aria-autocomplete', 'list');
    input.setAttribute('aria-controls', 'completer');
    input.addEventListener('input', () => this.#look());
    input.addEventListener('blur', () => this.#offer([]));
    // Pressed rather than clicked: a click would come after the input has lost the focus.
    this.element.addEventListener('pointerdown', (event) => {
      const option = event.target.closest('[role=option]');
      if (!option) return;
      event.preventDefault();
      this.#take(this.#choices[Number(option.dataset.place)]);
    });
  }

  /** Whether the key was for the list. */
  key(event) {
    if (this.#choices.length === 0) return false;
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') this.#choose(this.#chosen + (event.key === 'ArrowDown' ? 1 : -1));
    else if (event.key === 'Tab' || event.key === 'Enter') this.#take(this.#choices[this.#chosen]);
    else if (event.key === 'Escape') this.#offer([]);
    else return false;
    event.preventDefault();
    return true;
  }

  get #begun() {
    return this.#input.value.slice(0, this.#input.selectionStart).match(BEGUN)?.[1] ?? null;
  }

  #look() {
    const begun = this.#begun;
    if (begun === null) this.#offer([]);
    else if (begun.startsWith(':')) this.#offer(EMOTES.filter((name) => name.startsWith(begun.slice(1))).map((name) => `:${name}:`));
    else this.#offer(this.#names().filter((name) => name.toLowerCase().startsWith(begun.slice(1).toLowerCase())).map((name) => `@${name}`));
  }

  #offer(choices) {
    this.#choices = choices.slice(0, MOST);
    this.element.hidden = this.#choices.length === 0;
    this.element.replaceChildren(
      ...this.#choices.map((choice, place) =>
        h('li', { role: 'option', id: `completer-${place}`, 'data-place': place, 'aria-label': choice }, choice.startsWith(':') && emote(choice.slice(1, -1)), h('bdi', null, choice)),
      ),
    );
    this.#choose(0);
  }

  #choose(place) {
    const { length } = this.#choices;
    this.#chosen = length ? (place + length) % length : 0;
    for (const option of this.element.children) option.setAttribute('aria-selected', String(Number(option.dataset.place) === this.#chosen));
    if (length) this.#input.setAttribute('aria-activedescendant', `completer-${this.#chosen}`);
    else this.#input.removeAttribute('aria-activedescendant');
  }

  #take(choice) {
    const caret = this.#input.selectionStart;
    this.#input.setRangeText(`${choice} `, caret - this.#begun.length, caret, 'end');
    this.#offer([]);
    this.#input.dispatchEvent(new Event('input', { bubbles: true }));
  }
}
