// What the page says besides its charts: head, how to read it, accuracy, guarantee, files.

const GRADES = { A: 'up to ±5 %', B: 'up to ±15 %', C: 'up to ±50 %', D: 'more, or no estimate' };
const badge = grade => el('span', { class: `grade grade-${grade}` }, grade);
const period = job => [job.first_day, job.last_day]
  .map(text => dated(day(text), { day: 'numeric', month: 'long', year: 'numeric' })).join(' to ');

/** A probability or a budget as people write it: 1, 0.5, 1e-9. */
const parameter = value => (value !== 0 && Math.abs(value) < 0.001 ? value.toExponential() : String(value));

/** The privacy unit in words: `user-month Asia/Shanghai` is a user's payments within a calendar month. */
function unitWords(unit) {
  const [name, zone] = unit.split(' ');
  const within = name.split('-')[1];
  return within ? `all payments of one user within one ${within} (${zone})` : 'all payments of one user';
}

function headSection({ release, tables }) {
  const { job, parameters } = release;
  document.title = `${job.id} for ${job.recipient}`;
  const fact = (label, value) => el('div', {}, el('dt', {}, label), el('dd', {}, value));
  return [
    release.not_private && el('p', { class: 'warning' }, release.not_private),
    release.useless.length > 0 && uselessNote(release.useless),
    job.status === 'provisional' && el('p', { class: 'notice' },
      'Provisional: payments, or corrections of them, may still come in. A later release may take the place of this one.'),
    el('p', { class: 'kicker' }, 'Differentially private insights from in-store payments'),
    el('h1', {}, job.id),
    el('dl', { class: 'facts' },
      fact('released to', job.recipient),
      fact('period', period(job)),
      fact('people', job.population),
      fact('status', job.status),
      job.revises && fact('takes the place of', job.revises.job),
      fact('privacy', el('a', { href: '#guarantee' },
        `ε = ${parameter(parameters.epsilon)}, δ = ${parameter(parameters.delta)}`)),
      fact('protects', unitWords(release.unit.unit)),
      release.merchants_least && fact('merchants', `at least ${release.merchants_least} in whatever is told`),
      release.dominance && fact('share of the largest', dominanceWords(release.dominance)),
      fact('tables', `${tables.length}, with ${format(tables.reduce((sum, t) => sum + t.rows, 0))} rows`)),
  ];
}

/** What was released although noise was expected to drown it. */
function uselessNote(entries) {
  const one = ({ file, statistic, predicted_wape: error }) => `${titleOf(statistic, data.insights).toLowerCase()} in ${file} (errors of ${
    format(error, { style: 'percent', maximumFractionDigits: 1 })} of all that it counts)`;
  return el('p', { class: 'notice' }, 'Noise was expected to drown some of this, and its author accepted that: ',
    `${entries.map(one).join('; ')}. Zeros would be nearer to the truth.`);
}

function readingSection() {
  const hides = tables.some(table => table.columns.some(({ reasons }) => reasons?.includes('error')));
  const item = (mark, text) => el('li', {}, mark, el('span', {}, text));
  return el('section', { id: 'reading', class: 'card reading' },
    el('h2', {}, 'How to read it'),
    el('p', {}, 'Each number is an estimate from noised numbers. The line through a bar, the band around a line, or '
      + `the ± in a field is its 95 % interval, made to hold the true number in 95 of 100 cells${hides ? ', shown and hidden together. '
      + 'Where it is too wide against the estimate the cell is hidden, which hides estimates that are too low sooner than those '
      + 'that are too high: of the shown cells near that limit, fewer intervals hold the true number' : ''}.`),
    el('ul', { class: 'legend' },
      Object.entries(GRADES).map(([grade, text]) => item(badge(grade), text)),
      item(el('span', { class: 'mark hatch' }), 'hatched, dashed or faint: grade D, read it as “small”'),
      item(el('span', { class: 'mark' }, '×'), 'not shown, and why'),
      release.in_bands && item(el('span', { class: 'mark band' }, '1–5'), 'hidden for its merchants, and told in a band')));
}

/** How many cells of each grade, and how the error falls with size. */
function accuracySection(tables) {
  const open = tables.filter(table => !table.left_out);
  const singles = new Map();
  for (const table of open) {
    for (const [id, insight] of table.insights) singles.set(id, insight.title);
  }
  const heads = [...singles.values()];
  const rows = open.map(table => el('tr', {},
    el('th', { scope: 'row' }, `${table.report}: ${levelText(table)}`),
    [...singles].map(([id, head]) => el('td', { 'data-head': head }, gradeBar(table.insights.get(id)?.columns)))));
  return el('section', { id: 'accuracy', class: 'card' },
    el('h2', {}, 'How accurate it is'),
    el('p', {}, 'Cells by grade; of several columns, such as classes, all their fields. Large cells are precise, and small ones '
      + 'are mostly noise: that is what protects the few people in them. Hidden are cells of which nothing is told, '
      + `${release.in_bands ? 'or no more than a band, ' : ''}however precise it is: for their merchants, or as the period `
      + 'cannot tell.'),
    el('div', { class: 'scroll' }, el('table', { class: 'grades stack' },
      el('thead', {}, el('tr', {}, el('td', {}), heads.map(head => el('th', { scope: 'col' }, head)))),
      el('tbody', {}, rows))),
    el('h3', {}, 'Error by size of the estimate'),
    el('p', { class: 'sub' }, 'Median of half the interval against the estimate, over all cells of about that size'),
    el('div', { class: 'chart', id: 'error-by-size' }));
}

function gradeBar(columns) {
  if (!columns) return '';
  const counts = Object.fromEntries([...Object.keys(GRADES), 'hidden', 'band'].map(grade => [grade, 0]));
  for (const column of columns) {
    for (let row = 0; row < column.x.length; row++) {
      counts[toldAt(column, row) ? 'band' : hiddenAt(column, row) ? 'hidden' : column.grades[row]] += 1;
    }
  }
  const said = Object.entries(counts).filter(([, count]) => count > 0);
  const names = { hidden: count => `${format(count + counts.band)} hidden`, band: count => `${format(count)} in bands` };
  const all = counts.band > 0 && counts.hidden === 0 ? [['hidden', 0], ...said] : said;
  const text = all.map(([grade, count]) => names[grade]?.(count) ?? `${format(count)} ${grade}`).join(', ');
  return [
    el('span', { class: 'meter', role: 'img', 'aria-label': text },
      said.map(([grade, count]) => el('i', { class: `grade-${grade}`, style: `flex-grow:${count}` }))),
    el('small', {}, text),
  ];
}

/** Of each insight the median relative half interval by half decades of size. */
function errorsBySize(tables) {
  const lines = new Map();
  for (const table of tables) {
    for (const [id, { kind, title, columns: [column] }] of table.insights) {
      if (!['count', 'money'].includes(kind)) continue;
      for (let row = 0; row < table.rows; row++) {
        const currency = column.apart ? `, ${valueAt(column.apart, row)}` : '';
        if (!lines.has(id + currency)) lines.set(id + currency, { name: title + currency, classes: new Map() });
        const { classes } = lines.get(id + currency);
        const [x, half] = [column.x[row], (column.high[row] - column.low[row]) / 2];
        if (x === null || x < 1 || !(half > 0)) continue;
        const size = Math.floor(2 * Math.log10(x));
        if (!classes.has(size)) classes.set(size, []);
        classes.get(size).push(half / x);
      }
    }
  }
  return [...lines.values()].map(({ name, classes }) => ({
    name,
    points: [...classes].sort(([a], [b]) => a - b).map(([size, errors]) => {
      errors.sort((a, b) => a - b);
      return [10 ** ((size + 0.5) / 2), errors[Math.floor(errors.length / 2)], errors.length];
    }),
  })).filter(({ points }) => points.length > 0);
}

function guaranteeSection(release) {
  const { parameters, unit } = release;
  const who = unitWords(unit.unit);
  const guess = format(release.right_guess, { style: 'percent', maximumFractionDigits: 1, roundingMode: 'ceil' });
  const row = (label, value, note) => el('tr', {},
    el('th', { scope: 'row' }, label), el('td', {}, value), el('td', {}, note));
  const composed = unit.composed && row('ε, δ over all periods',
    `${unit.composed.epsilon.toPrecision(4)}, ${parameter(unit.composed.delta)}`,
    `for all payments of a user, over ${unit.composed.periods} periods`);
  return el('section', { id: 'guarantee', class: 'card' },
    el('h2', {}, 'What is promised'),
    el('div', { class: 'columns' },
      el('div', {},
        el('h3', {}, 'In words'),
        el('p', {}, `Whether or not ${who} were in the data, this release would have come out with almost the same `
          + 'probability. Who cannot tell better than by tossing a coin whether they were, with all else that they know, '
          + `guesses right at most ${guess} of the time after reading this release.`),
        el('p', {}, 'What one user adds to each number was bounded, noise was added to the sums, and everything here '
          + 'was computed from the noised sums alone.')),
      el('div', {},
        el('h3', {}, 'In symbols'),
        el('p', { class: 'formula' }, 'P[release(D) ∈ S] ≤ e', el('sup', {}, 'ε'), ' · P[release(D′) ∈ S] + δ'),
        el('p', {}, `for every set S of releases, and all data sets D and D′ that differ in ${who}, with `
          + `ε = ${parameter(parameters.epsilon)} and δ = ${parameter(parameters.delta)}.`))),
    el('div', { class: 'scroll' }, el('table', { class: 'budget' }, el('tbody', {},
      row('ε', parameter(parameters.epsilon), 'stated by the job; the noise is made for it'),
      row('δ', parameter(parameters.delta),
        `of which thresholds of private keys use ${parameter(parameters.threshold_delta)}`),
      composed,
      release.budget && budgetRow(release.budget, row),
      row('μ', parameters.mu.toPrecision(4),
        `Gaussian differential privacy, of ${release.mechanisms} noised statistics and ${release.surveys} surveys`),
      row('ρ', parameters.rho.toPrecision(4), 'zero-concentrated differential privacy')))),
    el('h3', {}, 'What is not'),
    el('ul', {},
      el('li', {}, release.merchants_least
        ? `Merchants by noise: what is told of them is about at least ${release.merchants_least} registered ones, alone or `
          + `in differences. Cells of fewer are hidden${release.in_bands ? ', or told in public bands' : ''}. ${
            dominanceText(release.dominance)}`
        : 'Merchants: a merchant’s total is an insight, not a secret. No cell is hidden for them.'),
      el('li', {}, 'Facts about many people: that a region shops at night is shown, whoever is in the data.'),
      el('li', {}, 'A person with several tokens counts as several users.')));
}

/** What all releases on these people have taken so far, of what they may take. */
function budgetRow(budget, row) {
  const share = (taken, most) => Number(taken) / Number(most) || 0;
  const taken = Math.max(share(budget.mu_squared_units, budget.mu_squared_units_max),
    share(budget.threshold_delta_units, budget.threshold_delta_units_max));
  const part = value => format(value, { style: 'percent', maximumFractionDigits: 1, roundingMode: 'floor' });
  return row('spent so far', `ε = ${budget.epsilon.toPrecision(4)} of ${parameter(budget.epsilon_max)}, at δ = ${
    parameter(budget.delta_max)}`,
    `by all jobs on these people with this one, also those that stopped; ${part(Math.max(0, 1 - taken))} of their budget (in μ²) is left, at least`);
}

/** What is promised of cells that few merchants have most of. */
function dominanceText(rule) {
  if (!rule) return 'One large merchant may be most of a cell that is shown.';
  const { share, who, by } = dominanceParts(rule);
  return `So are those of which ${who} may have more than ${share} of ${by} in the whole period, by noised numbers. In a single `
    + 'week or month they may have more of what is shown.';
}

/** The same in few words, for the head. */
function dominanceWords(rule) {
  const { share, who, by } = dominanceParts(rule);
  return `${who}: up to ${share} of ${by} in the whole period, by noised numbers`;
}

const dominanceParts = rule => ({
  share: format(rule.share, { style: 'percent', maximumFractionDigits: 2 }),
  who: rule.top === 1 ? 'one merchant' : `${rule.top} merchants together`,
  by: titleOf(rule.by, data.insights).toLowerCase(),
});

const FILE_HEADS = ['file', 'rows', 'keys', 'SHA-256'];

function filesSection({ release, tables }) {
  const digest = new Map(release.files.map(file => [file.name, file.sha256]));
  const inFolder = ({ file }) => `a folder with ${release.files.filter(({ name }) => name.startsWith(`${file}/`)).length} files`;
  return el('section', { id: 'files', class: 'card' },
    el('h2', {}, 'The tables'),
    el('p', {}, 'The same numbers, not rounded, with the noised values that no model has touched, are in Parquet files '
      + 'beside this page. “discretail verify” checks them.'),
    el('div', { class: 'scroll' }, el('table', { class: 'files stack' },
      el('thead', {}, el('tr', {}, FILE_HEADS.map(head => el('th', { scope: 'col' }, head)))),
      el('tbody', {}, tables.map(table => {
        const cells = [table.file, format(table.rows), table.selection, el('code', {}, digest.get(table.file) ?? inFolder(table))];
        return el('tr', {}, cells.map((cell, at) => el('td', { 'data-head': FILE_HEADS[at] }, cell)));
      })))));
}

function footSection(release) {
  return [
    el('p', {}, `Made by ${release.tool} from the released tables and manifest alone. It loads nothing and sends nothing.`),
    el('p', {}, 'Charts: Apache ECharts 6.1.0, © 2017–2026 The Apache Software Foundation, Apache License 2.0; parts of '
      + 'd3, © 2010–2017 Mike Bostock, BSD 3-Clause. Their texts stand in this file.'),
  ];
}
