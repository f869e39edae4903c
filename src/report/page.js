// The page: reads the data, lays out the charts of each report, and redraws them when a choice changes.

const data = JSON.parse(document.getElementById('data').textContent);
const tables = readTables(data);
const { release } = data;
const state = { filters: {}, insight: {}, picks: new Map(), more: new Set() };
const cards = [];

const FILTER_LIST = 200;

// ------------------------------------------------------------------------------------------------ the cards

function makeCard(table) {
  const parts = {
    title: el('h3'), scope: el('p', { class: 'sub' }), picks: el('div', { class: 'picks' }),
    body: el('div', { class: 'chart' }), note: el('p', { class: 'note' }), details: el('details'),
  };
  const node = el('article', { class: 'card figure', 'data-table': table.file }, parts.title, parts.scope,
    parts.picks, parts.body, parts.note, parts.details);
  const card = { table, node, ...parts };
  parts.details.addEventListener('toggle', () => fillDetails(card));
  cards.push(card);
  return node;
}

function updateCard(card) {
  const { table } = card;
  const id = state.insight[table.report];
  card.node.hidden = !table.insights.has(id) || (table.keys.length === 0 && table.insights.get(id).kind !== 'parts');
  card.view = card.node.hidden ? null : viewOf(table, id);
  card.node.classList.toggle('wide', Boolean(card.view?.wide));
  if (card.view) {
    const { view } = card;
    card.title.textContent = view.title;
    card.scope.textContent = scopeText(table, view);
    card.picks.replaceChildren(...view.picks.map(choice => pickControl(card, choice)));
    card.note.replaceChildren(view.note, view.more ? moreButton(card) : '');
    card.details.replaceChildren(el('summary', {}, 'Numbers'));
    card.details.hidden = view.list.length === 0;
    fillDetails(card);
  }
  draw(card);
}

/** Which values filters hold fixed here, and which filters do not bear on this table. */
function scopeText(table, view) {
  const picked = view.picks.map(({ key }) => key.name);
  const held = Object.entries(view.filters).filter(([key]) => !picked.includes(key)).map(([key, value]) => `${words(key)}: ${value}`);
  const names = table.keys.map(key => key.name);
  const others = Object.keys(state.filters).filter(key => !names.includes(key));
  const unit = view.insight.kind === 'money' && view.insight.currency ? `in ${view.insight.currency}` : '';
  const apart = others.length ? `not split by ${others.map(name => plain({ name })).join(' or ')}` : '';
  const looksBack = view.insight.id.endsWith('_customers') || view.insight.id.startsWith('retention_');
  let { what } = view.insight;
  if (table.look_back && looksBack) what = what.replace('before', `in the ${table.look_back} days before`);
  if (table.share_of && view.insight.id.endsWith('_share')) what += wholeText(table, view.insight);
  return [what, unit, ...held, apart].filter(Boolean).join(' · ');
}

function pickControl(card, { key, value }) {
  const option = each => el('option', { value: each, selected: each === value }, keyText(key.name, each));
  const choose = event => {
    state.picks.set(card.table, { ...state.picks.get(card.table), [key.name]: event.target.value });
    updateCard(card);
  };
  return el('label', {}, `${words(key.name)} `, el('select', { onchange: choose }, sortedValues(key).map(option)));
}

function moreButton(card) {
  const toggle = () => {
    if (!state.more.delete(card.table)) state.more.add(card.table);
    updateCard(card);
  };
  const text = state.more.has(card.table) ? 'Show fewer' : `Show ${format(Math.min(card.view.more, BARS_MAX))}`;
  return el('button', { type: 'button', class: 'link', onclick: toggle }, text);
}

function fillDetails({ details, view }) {
  if (!details.open || !view || details.querySelector('table')) return;
  const row = ({ name, cell }) => el('tr', {}, el('th', { scope: 'row' }, name),
    [shown(cell.x, inCurrency(view.insight, cell)), ...shownEnds(cell, inCurrency(view.insight, cell))]
      .map(text => el('td', { class: cell.x === null && 'none' }, text)),
    el('td', {}, cell.x === null ? sentence(cell, view.insight) : [badge(cell.grade), ` ${cell.band ?? ''}`]));
  const heads = ['', 'estimate', 'low', 'high', 'grade'];
  details.append(el('div', { class: 'scroll' }, el('table', { class: 'numbers' },
    el('thead', {}, el('tr', {}, heads.map(head => el('th', { scope: 'col' }, head)))),
    el('tbody', {}, view.list.slice(0, BARS_MAX).map(row)))));
}

/** Draws a card that is, or was, near what is seen. */
function draw(card) {
  if (!card.seen) return;
  const { view, body } = card;
  if (!view?.option) {
    card.chart?.dispose();
    card.chart = null;
    body.style.height = 'auto';
    body.replaceChildren(...(view?.number ? view.list.map(each => tile(each, view.insight)) : []));
    return;
  }
  const room = body.clientWidth;
  const width = view.width ? view.width(room) : room;
  const height = typeof view.height === 'function' ? view.height(room) : view.height;
  body.style.height = 'auto';
  if (!card.chart) {
    body.replaceChildren(el('div'));
    card.chart = echarts.init(body.firstChild, null, { renderer: 'svg', width, height });
  }
  card.chart.resize({ width, height });
  card.chart.setOption(view.option(palette(), width), true);
  body.setAttribute('role', 'img');
  body.setAttribute('aria-label', `${view.title}; the numbers are in the table below`);
  body.dataset.drawn = view.title;
}

const seen = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) {
    const card = isIntersecting && cards.find(each => each.node === target);
    if (!card || card.seen) continue;
    card.seen = true;
    draw(card);
  }
}, { rootMargin: '600px' });

function tile({ name, cell }, ofAll) {
  const insight = inCurrency(ofAll, cell);
  const [x, low, high] = shownLarge(cell, insight);
  return el('div', { class: 'tile' },
    el('span', { class: 'label' }, name, ' ', badge(cell.grade)),
    el('strong', {}, cell.told ? toldShort(cell).join('') : cell.x === null ? '×' : x,
      insight.currency && insight.kind === 'money' ? el('span', {}, insight.currency) : null),
    el('small', {}, cell.x === null ? sentence(cell, insight)
      : [`${low} to ${high}`, cell.band].filter(Boolean).join(', ')));
}

// ---------------------------------------------------------------------------------------------- the reports

function reportSection(name) {
  const own = tables.filter(table => table.report === name);
  const insights = new Map(own.flatMap(table => [...table.insights].map(([id, { title }]) => [id, title])));
  state.insight[name] = insights.keys().next().value;
  const choose = id => {
    state.insight[name] = id;
    for (const card of cards) if (card.table.report === name) updateCard(card);
  };
  const total = own.find(table => table.keys.length === 0 && !table.left_out);
  const single = total ? [...total.insights.values()].filter(({ kind }) => kind !== 'parts') : [];
  const tiles = single.map(insight => tile({ name: insight.title, cell: cellAt(insight.columns[0], 0) }, insight));
  const left = own.filter(table => table.left_out);
  return el('section', { class: 'report', 'data-report': name },
    el('h2', {}, words(name)),
    tiles.length > 0 && el('div', { class: 'tiles' }, tiles),
    insights.size > 1 && insightControl(name, insights, choose),
    el('div', { class: 'figures' }, own.filter(table => !table.left_out).map(makeCard)),
    left.map(table => el('p', { class: 'note' },
      `${table.file} has ${format(table.rows)} rows, too many for this page: open the file.`)));
}

function insightControl(name, insights, choose) {
  const radio = ([id, title], at) => el('label', {},
    el('input', { type: 'radio', name: `insight ${name}`, value: id, checked: at === 0, onchange: () => choose(id) }),
    el('span', {}, title));
  return el('fieldset', { class: 'choice' }, el('legend', {}, 'Show'), [...insights].map(radio));
}

function filterBar() {
  const values = new Map();
  for (const key of tables.flatMap(table => table.keys)) {
    if (isCalendar(key) || isClock(key)) continue;
    if (!values.has(key.name)) values.set(key.name, new Set());
    key.values.forEach(value => values.get(key.name).add(value));
  }
  const set = (name, value) => {
    if (value === '') delete state.filters[name];
    else state.filters[name] = value;
    cards.forEach(updateCard);
  };
  const controls = [...values].map(([name, all]) => filterControl(name, [...all].sort(), set));
  const clear = () => {
    state.filters = {};
    document.querySelectorAll('#bar select, #bar input').forEach(control => { control.value = ''; });
    cards.forEach(updateCard);
  };
  return [
    el('div', { class: 'filters' }, controls,
      controls.length > 0 && el('button', { type: 'button', onclick: clear }, 'Clear')),
    el('button', { type: 'button', id: 'theme', onclick: switchTheme }, 'Light or dark'),
  ];
}

/** A list; of many values a field that completes what is typed. */
function filterControl(name, all, set) {
  const label = words(name);
  if (all.length <= FILTER_LIST) {
    const options = all.map(value => el('option', { value }, value));
    return el('label', {}, `${label} `, el('select', { 'data-filter': name, onchange: e => set(name, e.target.value) },
      el('option', { value: '' }, 'all'), options));
  }
  const list = el('datalist', { id: `values of ${name}` });
  const complete = ({ target }) => {
    const found = all.filter(value => value.toLowerCase().includes(target.value.toLowerCase())).slice(0, 50);
    list.replaceChildren(...found.map(value => el('option', { value })));
    if (target.value === '' || all.includes(target.value)) set(name, target.value);
  };
  return el('label', {}, `${label} `, el('input', { 'data-filter': name, list: list.id, placeholder: 'all',
    oninput: complete, autocomplete: 'off' }), list);
}

// ------------------------------------------------------------------------------------- theme, size and print

function redraw() {
  cards.forEach(draw);
  drawErrors();
}

function switchTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
  redraw();
}

let errors = null;
function drawErrors() {
  const body = document.getElementById('error-by-size');
  errors ??= echarts.init(body, null, { renderer: 'svg' });
  errors.resize();
  errors.setOption(errorChart(errorsBySize(tables), palette()), true);
}

function print(starts) {
  document.documentElement.classList.toggle('printing', starts);
  for (const card of cards) card.seen = card.seen || starts;
  redraw();
}

function start() {
  document.getElementById('head').append(...headSection(data).filter(Boolean));
  document.getElementById('bar').append(...filterBar());
  const names = [...new Set(tables.map(table => table.report))];
  document.getElementById('main').append(readingSection(), ...names.map(reportSection),
    accuracySection(tables), guaranteeSection(release), filesSection(data));
  document.getElementById('foot').append(...footSection(release));
  cards.forEach(card => { updateCard(card); seen.observe(card.node); });
  drawErrors();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  let waiting = 0;
  let last = window.innerWidth;
  addEventListener('resize', () => {
    if (window.innerWidth === last) return;
    last = window.innerWidth;
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(redraw);
  });
  addEventListener('beforeprint', () => print(true));
  addEventListener('afterprint', () => print(false));
  document.documentElement.dataset.ready = 'yes';
}

start();
