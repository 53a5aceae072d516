// One channel in the directory: a card with its picture while live, a line while not.

import { avatar } from './avatar.js';
import { h, icon } from './dom.js';
import { compact, t } from './i18n.js';
import { called } from './names.js';

const LOGO = '/assets/logo.svg';

const address = ({ room }) => `/${encodeURIComponent(room)}`;

/** A card that keeps its elements: `update` writes what changed, so that a refresh of hundreds moves nothing. */
export class LiveCard {
  #picture = h('img', { src: LOGO, alt: '', class: 'placeholder', width: 480, height: 270, loading: 'lazy', decoding: 'async' });
  #viewers = h('span');
  #state = h('span', { class: 'live-badge' });
  #title = h('span', { class: 'card-title', dir: 'auto' });
  #name = h('bdi', { class: 'card-name' });
  #category = h('span', { class: 'chip', dir: 'auto' });

  constructor(channel) {
    this.element = h(
      'a',
      { class: 'card', href: address(channel), 'data-testid': 'live-card', 'data-room': channel.room },
      h('div', { class: 'thumbnail' }, this.#picture, this.#state, h('span', { class: 'card-viewers' }, icon('eye'), this.#viewers)),
      h('div', { class: 'card-text' }, avatar(channel.name), h('div', { class: 'card-lines' }, this.#title, this.#name, this.#category)),
    );
    this.update(channel);
  }

  update(channel) {
    const { title, category, viewers, interrupted, thumbnail } = channel;
    const name = called(channel);
    this.#title.textContent = title || t('home.untitled', { name });
    this.#title.title = title;
    this.#name.textContent = name;
    this.#category.textContent = category;
    this.#category.hidden = !category;
    this.#viewers.textContent = compact(viewers);
    this.#state.textContent = t(interrupted ? 'interrupted' : 'live');
    this.#state.classList.toggle('interrupted', interrupted);
    if (thumbnail) this.#show(thumbnail);
  }

  /** The new picture is loaded aside and put in when it is there, so that the old one does not blink. */
  #show(thumbnail) {
    const next = new Image();
    next.addEventListener('load', () => {
      this.#picture.src = next.src;
      this.#picture.classList.remove('placeholder');
    });
    next.src = `${thumbnail}?at=${Math.floor(Date.now() / 15_000)}`;
  }
}

export function offlineLine(channel) {
  return h(
    'a',
    { class: 'offline-line', href: address(channel) },
    avatar(channel.name),
    h(
      'span',
      { class: 'card-lines' },
      h('bdi', { class: 'card-title' }, called(channel)),
      h('span', { class: 'card-name', dir: 'auto' }, channel.title || t('followers', { n: channel.followers })),
    ),
  );
}
