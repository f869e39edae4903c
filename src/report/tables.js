// The release's tables, as the page reads them.

const CALENDAR = ['day', 'week', 'month', 'quarter'];
const CLOCK = ['weekday', 'hour'];
const isCalendar = key => CALENDAR.includes(key.name);
const isClock = key => CLOCK.includes(key.name);

/** What is known of the insight that a column belongs to, and what part of it the column is. */
function insightOf(column, known) {
  const exact = known[column.name];
  const currency = column.currency && !column.currency.includes(',') ? column.currency : null;
  if (exact && exact.kind !== 'parts') return { ...exact, id: column.name, currency };
  const whole = Object.keys(known).filter(name => column.name.startsWith(`${name}_`));
  const id = whole.filter(name => known[name].kind === 'parts').sort((a, b) => b.length - a.length)[0];
  if (id) return { ...known[id], id, currency, part: column.name.slice(id.length + 1) };
  const kind = column.currency ? 'money' : 'count';
  return { id: column.name, title: words(column.name), kind, what: '', currency };
}

/** Merchants by what they have at least, named by how much that is. */
function aboveOf(about, table) {
  const what = about.id.replace(/_above$/, '');
  const least = what === about.id ? undefined : table.above?.[what];
  if (least === undefined) return about;
  const currency = table.columns.map(column => column.currency).find(code => code && !code.includes(','));
  const amount = format(Number(least));
  const title = ['gross', 'sales'].includes(what)
    ? `Merchants with ${currency ? `${currency} ` : ''}${amount} of ${titleOf(what, data.insights).toLowerCase()} or more`
    : `Merchants with ${amount} ${what} or more`;
  return { ...about, title, what: 'registered merchants' };
}

/** Decorates the tables with their insights: `table.insights` has each with its columns. */
function readTables(data) {
  for (const table of data.tables) {
    table.insights = new Map();
    for (const column of table.columns) {
      const about = aboveOf(insightOf(column, data.insights), table);
      // Of amounts in several currencies, the key that tells them apart.
      const apart = column.currency?.includes(',') ? table.keys.find(({ name }) => name === 'currency') : undefined;
      if (!table.insights.has(about.id)) table.insights.set(about.id, { ...about, apart, columns: [] });
      table.insights.get(about.id).columns.push({ ...column, part: about.part, kind: about.kind, apart });
    }
  }
  return data.tables;
}

/** The estimate of a column in a row. */
function cellAt(column, row) {
  const code = column.suppressed ? column.suppressed[row] : -1;
  return {
    row, x: column.x[row], low: column.low[row], high: column.high[row], grade: column.grades[row],
    reason: code >= 0 ? reasonText(column.reasons[code]) : null,
    told: column.told && column.told[row] >= 0 ? column.bands[column.told[row]] : null,
    band: column.band && column.band[row] >= 0 ? column.bands[column.band[row]] : null,
    currency: column.apart && valueAt(column.apart, row),
  };
}

/** Is a row told in a band? */
const toldAt = (column, row) => column.told !== undefined && column.told[row] >= 0;

/** Is nothing told of a row but a band, for another reason than its error? */
const hiddenAt = (column, row) => column.x[row] === null && column.suppressed !== undefined
  && column.suppressed[row] >= 0 && column.reasons[column.suppressed[row]] !== 'error';

const valueAt = (key, row) => key.values[key.codes[row]];
const order = (key, a, b) => (key.kind === 'number' ? a - b : a < b ? -1 : a > b ? 1 : 0);

/** The distinct values of a key, in their order. */
const sortedValues = key => [...key.values].sort((a, b) => order(key, a, b));

/** The rows in which keys have the values of `chosen` (by name; others do not matter). */
function rowsWhere(table, chosen) {
  const tests = table.keys.filter(key => chosen[key.name] !== undefined)
    .map(key => [key.codes, key.values.indexOf(chosen[key.name])]);
  const rows = [];
  for (let row = 0; row < table.rows; row++) {
    if (tests.every(([codes, code]) => codes[row] === code)) rows.push(row);
  }
  return rows;
}

/** How much a row counts among others; of places the first counts most. */
function sizeAt({ kind, x }, row) {
  if (x[row] === null) return 0;
  return kind === 'place' ? 1 - x[row] : x[row];
}

/** Rows by what they are called when only these keys are said, with the largest estimates first. */
function grouped(rows, keys, columns) {
  const groups = new Map();
  for (const row of rows) {
    const name = keys.map(key => keyText(key.name, valueAt(key, row))).join(' · ');
    if (!groups.has(name)) groups.set(name, { name, rows: [], size: 0 });
    const group = groups.get(name);
    group.rows.push(row);
    for (const column of columns) group.size += sizeAt(column, row);
  }
  return [...groups.values()].sort((a, b) => b.size - a.size || (a.name < b.name ? -1 : 1));
}

/** A choice for each of these keys: that of the largest estimate; of calendar keys the last whole period. */
function largest(table, rows, keys, columns, release) {
  const choice = {};
  for (const key of keys) {
    if (isCalendar(key)) {
      const last = day(release.job.last_day);
      const whole = sortedValues(key).filter(value => periodEnd(key.name, value) <= last);
      choice[key.name] = whole.at(-1) ?? sortedValues(key).at(-1);
      continue;
    }
    const top = grouped(rows, [key], columns)[0];
    if (top) choice[key.name] = valueAt(key, top.rows[0]);
  }
  return choice;
}
