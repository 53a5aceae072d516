// `/overlay/{room}` and `/overlay/{room}/goal`: pages that a streaming program lays over the picture. The key, behind the
// `#`, lets alerts be controlled and remembered on the server; without it they are still shown, from now on.

import { Alerts } from './alerts.js';
import { goalBar } from './goal.js';
import { join } from './socket.js';

const [, , name, part] = location.pathname.split('/');
const room = decodeURIComponent(name).toLowerCase();
const key = new URLSearchParams(location.hash.slice(1)).get('key');
const shown = part === 'goal' ? goalBar(room) : new Alerts(room, key);

document.querySelector('#main').replaceChildren(shown.element);
join(room, {
  token: key,
  // What was missed is asked for by `load`: the server knows what was shown, also by another machine.
  cursor: () => null,
  status: ({ kind }) => (document.body.dataset.line = kind),
  joined: () => shown.load(),
  events: ({ events }) => shown.heard(events),
});
