// A trial: how far values are from the truth, by size of cells and by setting.

const trial = JSON.parse(document.getElementById('data').textContent);
const cards = [];
const chosen = new Map();

const SYMBOLS = ['circle', 'rect', 'triangle', 'diamond', 'roundRect', 'arrow'];
// A logarithm has no zero, and errors below a ten-thousandth are none.
const LEAST = 1e-4;

const percent = (value, digits = 2) => (value === null || value === undefined ? '–'
  : format(value, { style: 'percent', maximumSignificantDigits: digits }));
const ranged = spread => (!spread ? '–' : spread.least === spread.most ? percent(spread.middle, 3)
  : `${percent(spread.middle, 3)} (${percent(spread.least)} to ${percent(spread.most)})`);
const classNames = trial.classes.map((least, at) => (at + 1 < trial.classes.length
  ? `${least} – ${trial.classes[at + 1] - 1}` : `≥ ${least}`));

/** What a setting found of an insight at a level. */
const found = (setting, level, insight) => setting.levels[level].insights.find(own => own.insight === insight);

// --------------------------------------------------------------------------------------------------- charts

const colorOf = (colors, place) => colors.series[place % colors.series.length];

/** The line from the least to the most of some releases; beside each other where several share a place. */
function whiskers(points, color, shift, lying = false) {
  return {
    type: 'custom', silent: true, z: 4, tooltip: { show: false },
    data: points.map(({ at, least, most }) => [at, least, most]),
    encode: lying ? { x: [1, 2], y: 0 } : { x: 0, y: [1, 2] },
    renderItem: (params, api) => {
      const end = value => api.coord(lying ? [api.value(value), api.value(0)] : [api.value(0), api.value(value)]);
      const [[x1, y1], [x2, y2]] = [end(1), end(2)];
      const move = lying ? 0 : shift;
      return { type: 'line', shape: { x1: x1 + move, y1, x2: x2 + move, y2 },
        style: { stroke: color, lineWidth: lying ? 1.6 : 1.4, opacity: 0.7 } };
    },
  };
}

const count = (number, one) => `${format(number)} ${one}${number === 1 ? '' : 's'}`;

function classAxis(level, places, colors, width) {
  const cells = at => (width < 480 ? `(${format(level.cells_by_class[at])})` : count(level.cells_by_class[at], 'cell'));
  const names = places.map(at => `${classNames[at]}\n${cells(at)}`);
  return nameAxis(names, colors, { axisLabel: { color: colors.soft, fontSize: 11, interval: 0, lineHeight: 15 },
    axis: { ...axisName('exact customers of the cell', colors, 43) } });
}

const axisName = (name, colors, nameGap) => ({ name, nameLocation: 'middle', nameGap, nameTextStyle: { color: colors.soft } });

/** About how many rows the names of lines take. */
function legendRows(lines, width) {
  let [rows, used] = [1, 0];
  for (const { name } of lines) {
    const own = 45 + 6.6 * name.length;
    if (used + own > width && used > 0) [rows, used] = [rows + 1, 0];
    used += own;
  }
  return rows;
}

/** Lines over those classes of sizes that have cells: `lines` are `{ name, spreads, dashed }`. */
function classChart(lines, level, colors, width, axis) {
  const places = classNames.map((name, at) => at).filter(at => level.cells_by_class[at] > 0);
  // Points of several settings beside each other.
  const shift = place => 6 * (place - (lines.length - 1) / 2);
  const point = spread => (spread ? Math.max(spread.middle, axis.type === 'log' ? LEAST : 0) : null);
  const least = value => (axis.type === 'log' ? Math.max(value, LEAST) : value);
  return {
    ...base(colors),
    grid: { left: 26, right: 14, top: 14 + 21 * legendRows(lines, width), bottom: 28, containLabel: true },
    legend: { top: 0, left: 0, right: 0, itemGap: 10, textStyle: { color: colors.ink }, itemWidth: 24, itemHeight: 8,
      data: lines.map(line => line.name) },
    tooltip: {
      ...base(colors).tooltip, trigger: 'axis',
      formatter: points => [`<b>${escaped(classNames[places[points[0].dataIndex]])} customers</b>`,
        ...points.filter(each => each.seriesType === 'line').map(each => `${escaped(each.seriesName)}: ${
          escaped(ranged(lines.find(line => line.name === each.seriesName).spreads[places[each.dataIndex]]))}`)].join('<br>'),
    },
    xAxis: classAxis(level, places, colors, width),
    yAxis: { axisLabel: { color: colors.soft, formatter: value => percent(value) },
      splitLine: { lineStyle: { color: colors.line } }, ...axisName(axis.of, colors, 46), ...axis },
    series: lines.flatMap(({ name, spreads, dashed }, place) => {
      const color = dashed ? colors.soft : colorOf(colors, place);
      const own = places.map(at => spreads[at]);
      const points = own.map((spread, at) => spread && { at, least: least(spread.least), most: least(spread.most) });
      return [
        { type: 'line', name, data: own.map(point), color, symbolOffset: [shift(place), 0], symbol: dashed ? 'emptyCircle' : SYMBOLS[place % SYMBOLS.length],
          symbolSize: 8, lineStyle: { width: place === 0 ? 3 : 1.6, type: dashed ? 'dashed' : 'solid' }, connectNulls: false,
          markLine: place === 0 && axis.line ? axis.line(colors) : undefined },
        whiskers(points.filter(Boolean), color, shift(place)),
      ];
    }),
  };
}

/** Errors of all cells together, by setting. */
function settingChart(rows, colors, width) {
  const names = rows.map(row => row.name);
  const most = Math.max(...rows.flatMap(({ own }) => [own.estimate.wape?.most, own.noised.wape?.middle,
    own.predicted?.wape_estimated].filter(value => value !== undefined && value !== null)), 0.01);
  const marks = (name, symbol, color, of) => ({
    type: 'scatter', name, symbol, symbolSize: 10, color, z: 5, data: rows.map((row, at) => [of(row.own) ?? '-', at]),
  });
  const ends = rows.map(({ own }, at) => own.estimate.wape && { at, ...own.estimate.wape }).filter(Boolean);
  const tips = ({ own, name }) => [`<b>${escaped(name)}</b>`, `estimates: ${escaped(ranged(own.estimate.wape))}`,
    `noised values: ${escaped(ranged(own.noised.wape))}`,
    own.predicted && `plan expects of estimates: ${percent(own.predicted.wape_estimated)}`].filter(Boolean).join('<br>');
  const marked = ['estimates', 'noised values', ...(rows.some(row => row.own.predicted) ? ['expected by plan'] : [])];
  return {
    ...base(colors),
    grid: { left: 16, right: 24, top: 14 + 21 * legendRows(marked.map(name => ({ name })), width), bottom: 26, containLabel: true },
    legend: { top: 0, left: 0, textStyle: { color: colors.ink }, itemWidth: 18, itemHeight: 9, data: marked },
    tooltip: { ...base(colors).tooltip, trigger: 'axis', axisPointer: { type: 'shadow' },
      formatter: ([{ dataIndex }]) => tips(rows[dataIndex]) },
    xAxis: { type: 'value', min: 0, ...axisName('error', colors, 26), ...(most > 3 ? { max: 3 } : {}), axisLabel: { color: colors.soft, formatter: value => percent(value), hideOverlap: true },
      splitLine: { lineStyle: { color: colors.line } } },
    yAxis: nameAxis(names, colors, { axis: { inverse: true }, axisLabel: { width: 130, overflow: 'truncate' } }),
    series: [
      { type: 'bar', name: 'estimates', barMaxWidth: 16, color: colors.series[0],
        data: rows.map(({ own }, at) => ({ value: own.estimate.wape?.middle ?? null,
          itemStyle: { opacity: at === 0 ? 0.95 : 0.6, borderRadius: [0, 3, 3, 0] } })) },
      whiskers(ends, colors.ink, 0, true),
      marks('noised values', 'emptyCircle', colors.series[1], own => own.noised.wape?.middle),
      marks('expected by plan', 'diamond', colors.series[2], own => own.predicted?.wape_estimated),
    ],
  };
}

// ---------------------------------------------------------------------------------------------------- cards

const NOMINAL = colors => ({ silent: true, symbol: 'none', lineStyle: { color: colors.soft, type: 'dashed' },
  label: { show: true, formatter: '95%', color: colors.soft, position: 'insideEndTop' }, data: [{ yAxis: 0.95 }] });

/** What the cards of a level show of an insight. */
function views(place, insight) {
  const level = trial.levels[place];
  const rows = trial.settings.map(setting => ({ name: setting.name, own: found(setting, place, insight),
    keys: setting.levels[place].keys_shown_by_class, allKeys: setting.levels[place].keys_shown })).filter(row => row.own);
  const lines = of => rows.map(row => ({ name: row.name, spreads: of(row) }));
  const noised = { name: 'the job, noised values', dashed: true, spreads: rows[0].own.noised.by_class };
  const title = titleOf(insight, trial.known);
  const heads = ['', ...classNames];
  const table = of => rows.map(row => [row.name, ...of(row).map(ranged)]);
  const lowest = Math.min(0.9, ...rows.flatMap(row => row.own.covered_by_class.filter(Boolean).map(s => s.least)));
  const all = [
    { id: 'size', wide: true, title: `${title}: error by size of the cell`, height: 320,
      sub: 'median of |value − truth| against the truth, by exact customers; lines span the releases',
      option: (colors, width) => classChart([...lines(row => row.own.estimate.by_class), noised], level, colors, width,
        { type: 'log', of: 'error', min: value => Math.max(10 ** Math.floor(Math.log10(Math.max(value.min, LEAST))), LEAST) }),
      heads, rows: [...table(row => row.own.estimate.by_class), [noised.name, ...noised.spreads.map(ranged)]] },
    { id: 'all', title: `${title}: error of all cells together`, height: 60 + 34 * rows.length,
      sub: 'sum of errors against the sum of values; empty public cells are in it',
      option: (colors, width) => settingChart(rows, colors, width),
      heads: ['', 'estimates', 'noised values', 'expected', 'shown'],
      rows: rows.map(({ name, own }) => [name, ranged(own.estimate.wape), ranged(own.noised.wape),
        percent(own.predicted?.wape_estimated), percent(own.shown?.middle, 3)]) },
    { id: 'covered', title: `${title}: intervals that hold the truth`, height: 280,
      sub: 'of 95 % intervals', heads: [...heads, 'all'],
      option: (colors, width) => classChart(lines(row => row.own.covered_by_class), level, colors, width,
        { type: 'value', of: 'intervals', min: Math.floor(lowest * 20) / 20, max: 1, line: NOMINAL }),
      rows: rows.map(({ name, own }) => [name, ...own.covered_by_class.map(ranged), ranged(own.covered)]) },
  ];
  if (level.selection !== 'public') {
    all.push({ id: 'keys', title: 'Keys that are shown', height: 280, sub: 'of all keys that hold payments', heads: [...heads, 'all'],
      option: (colors, width) => classChart(lines(row => row.keys), level, colors, width, { type: 'value', of: 'keys', min: 0, max: 1 }),
      rows: rows.map(({ name, keys, allKeys }) => [name, ...keys.map(ranged), ranged(allKeys)]) });
  }
  return all;
}

function makeCard(place, at) {
  const parts = { title: el('h3'), sub: el('p', { class: 'sub' }), body: el('div', { class: 'chart' }), details: el('details') };
  const node = el('article', { class: 'card figure' }, parts.title, parts.sub, parts.body, parts.details);
  const card = { place, at, node, ...parts };
  cards.push(card);
  return node;
}

function updateCard(card) {
  card.view = views(card.place, chosen.get(card.place))[card.at];
  const { view } = card;
  card.node.classList.toggle('wide', Boolean(view.wide));
  card.node.dataset.chart = view.id;
  card.title.textContent = view.title;
  card.sub.textContent = view.sub;
  const cell = (tag, text) => el(tag, tag === 'th' ? { scope: 'col' } : {}, text);
  card.details.replaceChildren(el('summary', {}, 'Numbers'), el('div', { class: 'scroll' }, el('table', {},
    el('thead', {}, el('tr', {}, view.heads.map(head => cell('th', head)))),
    el('tbody', {}, view.rows.map(([name, ...texts]) => el('tr', {}, el('th', { scope: 'row' }, name),
      texts.map(text => el('td', {}, text))))))));
  draw(card);
}

function draw({ view, body, ...card }) {
  const width = body.clientWidth;
  if (!body.firstChild) body.append(el('div'));
  const chart = echarts.getInstanceByDom(body.firstChild)
    ?? echarts.init(body.firstChild, null, { renderer: 'svg', width, height: view.height });
  chart.resize({ width, height: view.height });
  chart.setOption(view.option(palette(), width), true);
  body.setAttribute('role', 'img');
  body.setAttribute('aria-label', `${view.title}; the numbers are in the table below`);
}

// ------------------------------------------------------------------------------------------------- sections

function headSection() {
  document.title = `${trial.job}, tried`;
  const fact = (label, value) => el('div', {}, el('dt', {}, label), el('dd', {}, value));
  const [own] = trial.settings;
  return [
    el('p', { class: 'warning' }, 'Not a release: what this page says of the payments tried is exact and has no protection.'),
    el('p', { class: 'kicker' }, 'How far the values of a job are from the truth'),
    el('h1', {}, `${trial.job}, tried`),
    el('dl', { class: 'facts' },
      fact('on', `${count(trial.files, 'file')} of public or made-up payments`),
      fact('privacy of the job', `ε = ${own.epsilon}, δ = ${trial.delta}`),
      fact('settings', String(trial.settings.length)),
      fact('releases for each', String(trial.runs))),
  ];
}

function readingSection() {
  const say = text => el('li', {}, text);
  return el('section', { class: 'card reading' },
    el('h2', {}, 'How to read it'),
    el('p', {}, 'Each setting was run several times on these payments, with new noise each time and with bounds chosen '
      + 'anew where they are open. Bars and points are the middle of these releases, thin lines reach from the least to the most.'),
    el('ul', {},
      say('“the job” is the job as it stands; “half the bounds” and “twice the bounds” state bounds around those that it '
        + 'states, or that the run chose; “bounds chosen” leaves stated ones to the run.'),
      say('Estimates are what tables show; noised values stand beside them, and no model has touched these.'),
      say('What plan expects follows from the job’s [expect], so it is about the job’s own payments and not about these.'),
      trial.without_earlier_releases && say('Earlier releases that the job names are left out: they tell of other people than these.'),
      trial.skipped.map(({ name, why }) => say(`“${name}” could not be tried: ${why}.`))));
}

function levelSection(place) {
  const level = trial.levels[place];
  const insights = trial.settings[0].levels[place].insights.map(own => own.insight);
  if (insights.length === 0) {
    return el('section', { class: 'report' }, el('h2', {}, level.level),
      el('p', { class: 'note' }, 'Comparisons and quantiles are not tried.'));
  }
  chosen.set(place, insights[0]);
  const choose = id => {
    chosen.set(place, id);
    cards.filter(card => card.place === place).forEach(updateCard);
  };
  const radio = (id, at) => el('label', {},
    el('input', { type: 'radio', name: `insight ${place}`, value: id, checked: at === 0, onchange: () => choose(id) }),
    el('span', {}, titleOf(id, trial.known)));
  const cells = level.cells_by_class.reduce((sum, count) => sum + count, level.cells_empty);
  const empty = level.cells_empty ? `, ${format(level.cells_empty)} of them empty` : '';
  return el('section', { class: 'report', 'data-level': level.level },
    el('h2', {}, level.level),
    el('p', { class: 'sub' }, `${count(cells, 'cell')}${empty}, ${level.selection} keys`),
    insights.length > 1 && el('fieldset', { class: 'choice' }, el('legend', {}, 'Show'), insights.map(radio)),
    el('div', { class: 'figures' }, views(place, insights[0]).map((view, at) => makeCard(place, at))));
}

/** Bounds by setting, as a job would state them. */
function boundsSection() {
  const cell = ({ norm_bound: { middle, least, most }, money }) => {
    const number = value => format(money ? value / 10 ** trial.money_places : value, { maximumSignificantDigits: 4 });
    return least === most ? number(middle) : `${number(middle)} (${number(least)} to ${number(most)})`;
  };
  const row = (level, place, bound, at) => el('tr', {}, el('th', { scope: 'row' }, `${level.level}: ${bound.statistic}`),
    trial.settings.map(setting => el('td', {}, cell(setting.levels[place].bounds[at]))));
  const rows = trial.levels.flatMap((level, place) => trial.settings[0].levels[place].bounds
    .map((bound, at) => bound.statistic !== 'ticket_logs' && row(level, place, bound, at)));
  return el('section', { id: 'bounds', class: 'card' },
    el('h2', {}, 'Bounds'),
    el('p', {}, 'The most that one user counts. Larger bounds scale fewer heavy users down, and noise grows with them.'),
    el('div', { class: 'scroll' }, el('table', {},
      el('thead', {}, el('tr', {}, el('th', {}), trial.settings.map(({ name }) => el('th', { scope: 'col' }, name)))),
      el('tbody', {}, rows))));
}

// ------------------------------------------------------------------------------------- theme, size and print

const redraw = () => cards.forEach(draw);

function switchTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
  redraw();
}

function print(starts) {
  document.documentElement.classList.toggle('printing', starts);
  redraw();
}

function start() {
  document.getElementById('head').append(...headSection());
  document.getElementById('bar').append(el('span'),
    el('button', { type: 'button', id: 'theme', onclick: switchTheme }, 'Light or dark'));
  document.getElementById('main').append(readingSection(), ...trial.levels.map((level, place) => levelSection(place)), boundsSection());
  document.getElementById('foot').append(el('p', {}, 'It loads nothing and sends nothing. Charts: Apache ECharts 6.1.0, '
    + '© 2017–2026 The Apache Software Foundation, Apache License 2.0; parts of d3, © 2010–2017 Mike Bostock, BSD 3-Clause. '
    + 'Their texts stand in this file.'));
  cards.forEach(updateCard);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  let [waiting, last] = [0, window.innerWidth];
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
