// `/admin`: for operators. Each tab is one file in `admin/`; the one that shows is read anew every second.

import { accountForms } from './account.js';
import { auditDesk } from './admin/audit.js';
import { clusterDesk } from './admin/cluster.js';
import { lettersDesk } from './admin/letters.js';
import { modelsDesk } from './admin/models.js';
import { overviewDesk } from './admin/overview.js';
import { peopleDesk } from './admin/people.js';
import { schemasDesk } from './admin/schemas.js';
import { explain } from './api.js';
import { h } from './dom.js';
import { showHeader } from './header.js';
import { t } from './i18n.js';
import { session } from './session.js';
import { tabs } from './tabs.js';

const EVERY_MS = 1000;
const DESKS = { overview: overviewDesk, models: modelsDesk, letters: lettersDesk, cluster: clusterDesk, schemas: schemasDesk, people: peopleDesk, audit: auditDesk };

const main = document.querySelector('#main');
document.title = t('admin.page');
showHeader();
await session.ready;
session.addEventListener('change', () => location.reload(), { once: true });
if (!session.account) main.replaceChildren(h('h1', null, t('admin.title')), h('div', { class: 'surface' }, accountForms('login', () => location.reload())));
else if (!session.account.roles.includes('operator')) main.replaceChildren(h('div', { class: 'empty' }, h('h1', null, t('admin.title')), h('p', null, t('admin.operators_only')), h('code', null, `lemonair account role ${session.account.name} operator`)));
else show();

function show() {
  const fault = h('p', { class: 'fault', role: 'alert', hidden: true });
  const desks = Object.entries(DESKS).map(([id, make]) => ({ id, ...make() }));
  let shown = null;
  let timer = 0;
  const panel = (desk) => ({
    id: desk.id,
    label: t(`admin.${desk.id}`),
    content: h('section', { class: 'surface', 'aria-label': t(`admin.${desk.id}`) }, desk.element),
    shown: () => {
      shown = desk;
      refresh();
    },
  });
  main.replaceChildren(h('h1', null, t('admin.title')), fault, h('div', { class: 'admin-desks' }, tabs(t('admin.title'), desks.map(panel))));

  async function refresh() {
    clearTimeout(timer);
    const desk = shown;
    try {
      if (!document.hidden) await desk.refresh();
      fault.hidden = true;
    } catch (problem) {
      fault.hidden = false;
      fault.textContent = explain(problem);
    }
    clearTimeout(timer);
    if (desk === shown) timer = setTimeout(refresh, EVERY_MS);
  }
}
