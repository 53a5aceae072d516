// Words in the viewer's language. A new language is one file in `i18n/` and its own name in `languages`.

import en from './i18n/en.js';
import { local, word } from './storage.js';

export const languages = { en: 'English', ko: '한국어' };

const wished = [word('language'), ...navigator.languages].filter(Boolean).map((tag) => tag.split('-')[0].toLowerCase());
export const language = wished.find((tag) => tag in languages) ?? 'en';

// English is always there: it stands in for a string that another language does not have yet.
const words = language === 'en' ? en : { ...en, ...(await import(`./i18n/${language}.js`)).default };
const plural = new Intl.PluralRules(language);
document.documentElement.lang = language;

/** The words for `key`; `{name}` is filled from `values`, and `values.n` picks the plural form. */
export function t(key, values = {}) {
  let text = words[key];
  if (typeof text === 'object') text = text[plural.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => (name === 'n' ? number(values.n) : values[name]));
}

/** Whether there are words for `key`: problem codes that are not known here fall back to what the server says. */
export const knows = (key) => key in words;

/** A reload is enough to switch: the chat resumes by its cursor and the player at the live edge. */
export function speak(tag) {
  local.set('language', tag);
  location.reload();
}

const plain = new Intl.NumberFormat(language);
const short = new Intl.NumberFormat(language, { notation: 'compact', maximumFractionDigits: 1 });
const hours = new Intl.DateTimeFormat(language, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const days = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' });
const since = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });

export const number = (value) => plain.format(value);
export const compact = (value) => short.format(value);
export const points = (value) => t('points', { n: value });
export const clock = (at) => hours.format(new Date(at));
export const date = (at) => days.format(new Date(at));

/** `1:02:03`, or `2:03` below an hour. */
export function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  if (parts[0] === 0) parts.shift();
  return parts.map((part, place) => (place === 0 ? part : String(part).padStart(2, '0'))).join(':');
}

/** `5 minutes ago`. */
export function ago(at) {
  const minutes = Math.round((new Date(at) - Date.now()) / 60_000);
  if (minutes > -60) return since.format(Math.min(0, minutes), 'minute');
  if (minutes > -1440) return since.format(Math.round(minutes / 60), 'hour');
  return since.format(Math.round(minutes / 1440), 'day');
}
