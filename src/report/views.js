// What a card shows of a table: its title, the estimates as a list, and a chart or a number.

const BARS = 15;
const BARS_MAX = 300;
const LINES = 12;
const MATRIX_MAX = 32;

const plain = key => key.name.replaceAll('_', ' ');
const plainList = keys => keys.map(plain).join(' and ');
const levelText = table => (table.keys.length ? table.keys.map(plain).join(', ') : 'total');

/** What to draw of a table: its title, the estimates as a list, and a chart or a number. */
function viewOf(table, id) {
  const insight = table.insights.get(id);
  const filters = {};
  for (const key of table.keys) {
    const value = state.filters[key.name];
    if (value === undefined) continue;
    if (!key.values.includes(value)) return absent(table, insight, key, value);
    filters[key.name] = value;
  }
  const [calendar, clock] = [table.keys.filter(isCalendar), table.keys.filter(isClock)];
  const texts = table.keys.filter(key => !isCalendar(key) && !isClock(key));
  const unheld = texts.filter(key => filters[key.name] === undefined);
  const view = { insight, filters, picks: [], note: '' };
  if (insight.apart) {
    const alone = unheld.every(key => key === insight.apart) && clock.length === 0 && insight.kind !== 'parts';
    if (alone && calendar.length === 0) return currenciesView(table, view);
    if (!alone || unheld.length === 0) oneCurrency(table, view);
  }
  const free = unheld.filter(key => filters[key.name] === undefined);
  if (insight.id.startsWith('retention_')) return cohortView(table, view, calendar[0], free);
  if (insight.kind === 'parts') return partsView(table, view, [...free, ...clock, ...calendar]);
  const pair = pairKeys(free);
  if (pair) return pairView(table, view, pair, [...free, ...clock, ...calendar].filter(key => !pair.includes(key)));
  const ways = flowKeys(free);
  if (ways) return flowView(table, view, ways, [...free, ...clock, ...calendar].filter(key => !ways.includes(key)));
  if (calendar.length) return trendView(table, view, calendar[0], [...free, ...clock, ...calendar.slice(1)]);
  if (clock.length === 2) return clockView(table, view, clock, free);
  if (clock.length === 1) return standingView(table, view, clock[0], free);
  if (texts.length === 1) return rankingView(table, view, texts, {});
  const small = free.every(key => key.values.length <= MATRIX_MAX);
  if (free.length === 2 && small) return matrixView(table, view, free);
  return rankingView(table, view, free, filters);
}

/** Amounts in one currency: numbers of several can neither stand on one axis nor be ranked. */
function oneCurrency(table, view) {
  const key = view.insight.apart;
  if (view.filters.currency === undefined) {
    view.filters.currency = state.picks.get(table)?.currency ?? sortedValues(key)[0];
    view.picks = [{ key, value: view.filters.currency }];
  }
  view.insight = { ...view.insight, currency: view.filters.currency };
}

/** A number for each currency. */
function currenciesView(table, view) {
  const [column] = view.insight.columns;
  const key = view.insight.apart;
  const rows = rowsWhere(table, view.filters).sort((a, b) => order(key, valueAt(key, a), valueAt(key, b)));
  return { ...view, title: view.insight.title, number: true,
    list: rows.map(row => ({ name: valueAt(key, row), cell: cellAt(column, row) })) };
}

function absent(table, insight, key, value) {
  const why = table.selection !== 'public' ? ': too few customers there, or none' : '';
  return { insight, filters: {}, picks: [], list: [], title: `${insight.title} by ${levelText(table)}`,
    note: `${words(key.name)} ${value} is not in this table${why}.` };
}

/** Rows where filters hold, and where keys that are neither axis nor filter have one value. */
function pick(table, view, keys) {
  const rows = rowsWhere(table, view.filters);
  const chosen = { ...largest(table, rows, keys, view.insight.columns, release), ...state.picks.get(table) };
  const own = keys.map(key => ({ key, value: chosen[key.name] }));
  view.picks = [...view.picks, ...own];
  const picked = Object.fromEntries(own.map(({ key, value }) => [key.name, value]));
  return rowsWhere(table, { ...view.filters, ...picked });
}

function rankingView(table, view, keys, filters) {
  const [column] = view.insight.columns;
  const rows = rowsWhere(table, filters);
  const name = row => keys.map(key => keyText(key.name, valueAt(key, row))).join(' · ');
  const places = view.insight.kind === 'place';
  const size = row => (column.x[row] === null ? -Infinity : sizeAt(column, row));
  const sorted = [...rows].sort((a, b) => size(b) - size(a));
  const marked = Object.entries(view.filters).filter(([key]) => filters[key] === undefined);
  const faded = row => marked.some(([key, value]) => valueAt(table.keys.find(k => k.name === key), row) !== value);
  const count = state.more.has(table) ? BARS_MAX : BARS;
  const bars = sorted.slice(0, count)
    .map(row => ({ name: name(row), cell: cellAt(column, row), faded: faded(row) }));
  const title = keys.length ? `${view.insight.title} by ${keys.map(plain).join(' and ')}` : view.insight.title;
  if (!keys.length) return { ...view, title, list: bars.map(b => ({ ...b, name: view.insight.title })), number: true };
  return {
    ...view, title, list: bars, more: sorted.length > BARS ? sorted.length : 0,
    note: sorted.length > count ? `The ${count} ${places ? 'first' : 'largest'} of ${format(sorted.length)}.` : '',
    height: 40 + 25 * bars.length, option: colors => barChart(bars, view.insight, colors),
  };
}

function standingView(table, view, axis, free) {
  const rows = pick(table, view, free);
  const [column] = view.insight.columns;
  const sorted = [...rows].sort((a, b) => order(axis, valueAt(axis, a), valueAt(axis, b)));
  const bars = sorted.map(row => ({ name: keyText(axis.name, valueAt(axis, row)), cell: cellAt(column, row) }));
  return { ...view, title: `${view.insight.title} by ${plain(axis)}`, list: bars, height: 260,
    option: colors => barChart(bars, view.insight, colors, { standing: true }) };
}

function partsView(table, view, keys) {
  const rows = pick(table, view, keys);
  const { columns, title } = view.insight;
  const name = (column, at) => partText(column.part, columns[at + 1]?.part);
  const bars = rows.length
    ? columns.map((column, at) => ({ name: name(column, at), cell: cellAt(column, rows[0]) })) : [];
  const insight = { ...view.insight, kind: columns[0].currency ? 'money' : view.insight.of ?? 'count' };
  // Beside its peers the merchant itself.
  const own = table.insights.get(view.insight.id.replace(/_peer_benchmark$/, ''));
  if (own && own !== view.insight && rows.length) {
    bars.forEach(bar => { bar.faded = true; });
    bars.unshift({ name: 'this one', cell: cellAt(own.columns[0], rows[0]) });
  }
  const split = table.keys.length ? `${title}, by ${levelText(table)}` : title;
  return { ...view, insight, title: split, list: bars, height: 280,
    option: colors => barChart(bars, insight, colors, { standing: true }) };
}

/** Cohorts: when customers were new goes down, and across how many periods later they came again. */
function cohortView(table, view, axis, keys) {
  const rows = new Map(pick(table, view, keys).map(row => [valueAt(axis, row), row]));
  const insight = { ...view.insight, kind: view.insight.of ?? 'count' };
  const across = insight.columns.map(column => ({ column, name: column.part === '0' ? 'new' : `+ ${column.part}` }));
  const cellOf = ({ column }, { row }) => {
    const cell = cellAt(column, row);
    return cell.reason === REASONS['look-ahead'] ? null : cell;
  };
  const down = sortedValues(axis).filter(value => rows.has(value))
    .map(value => ({ row: rows.get(value), name: keyText(axis.name, value) }))
    .filter(time => across.some(each => cellOf(each, time)));
  const list = down.flatMap(time => across.map(each => ({ name: `${time.name} · ${each.name}`, cell: cellOf(each, time) })));
  return { ...view, insight, list: list.filter(({ cell }) => cell), wide: true,
    title: `${insight.title}, by ${levelText(table)}`, note: `Across: ${plain(axis)}s after the first one.`,
    height: MATRIX.head + MATRIX.down * down.length, width: width => matrixWidth(across.length, width),
    option: (colors, width) => matrixChart(across, down, cellOf, insight, colors, width) };
}

function trendView(table, view, axis, others) {
  const [column] = view.insight.columns;
  const values = sortedValues(axis);
  const [first, last] = [day(release.job.first_day), day(release.job.last_day)];
  const times = values.map(value => ({
    name: keyText(axis.name, value), part: day(value) < first || periodEnd(axis.name, value) > last,
  }));
  const groups = grouped(rowsWhere(table, view.filters), others, [column]);
  const apart = others.includes(view.insight.apart);
  if (apart) groups.sort((a, b) => (a.name < b.name ? -1 : 1));
  const place = new Map(values.map((value, at) => [axis.values.indexOf(value), at]));
  const lines = groups.slice(0, LINES).map(({ name, rows }) => {
    const cells = times.map(() => null);
    for (const row of rows) cells[place.get(axis.codes[row])] = cellAt(column, row);
    return { name: name || view.insight.title, cells, currency: apart ? cells.find(Boolean).currency : null };
  });
  const list = lines.flatMap(({ name, cells }) => cells.map((cell, at) => cell
    && { name: `${times[at].name}${others.length ? ` · ${name}` : ''}`, cell }).filter(Boolean));
  const split = others.length ? `, by ${others.map(plain).join(' and ')}` : '';
  const hollow = times.some((time, at) => time.part && lines.some(({ cells }) => cells[at]?.x != null));
  const notes = [
    groups.length > LINES && `The ${LINES} ${apart || view.insight.kind === 'place' ? 'first' : 'largest'} of ${
      format(groups.length)}; filters show others.`,
    apart && lines.length > 1 && 'Each currency has an axis of its own.',
    hollow && `Hollow points: ${plain(axis)}s of which only a part is in the period.`,
  ];
  return { ...view, title: `${view.insight.title} by ${plain(axis)}${split}`, list,
    wide: lines.length > 1, height: width => panelsHeight(lines.length, width), note: notes.filter(Boolean).join(' '),
    option: (colors, width) => trendChart(lines, times, view.insight, colors, width) };
}

function clockView(table, view, clock, free) {
  const rows = pick(table, view, free);
  const of = name => clock.find(key => key.name === name);
  return { ...grid(table, view, rows, of('hour'), of('weekday'), true),
    title: `${view.insight.title} by hour and weekday` };
}

function matrixView(table, view, keys) {
  // The longer key goes down, as pages are long.
  const [rows, columns] = [...keys].sort((a, b) => b.values.length - a.values.length);
  return { ...grid(table, view, rowsWhere(table, view.filters), columns, rows, false),
    title: `${view.insight.title} by ${keys.map(plain).join(' and ')}` };
}

/** Of what a share is a part: of all that has the same values of other keys than those over which shares add up. */
function wholeText(table, insight) {
  const [over, same] = [true, false].map(added => table.keys.filter(key => table.share_of.includes(key.name) === added));
  // Who has one value only is in one share only.
  const several = insight.id === 'customers_share' && !over.every(key => key.name.startsWith('home_'));
  return `${same.length ? ` of the same ${plainList(same)}` : ''}, whatever the ${plainList(over)}${
    several ? '; who has several counts in each' : ''}`;
}

/** Which fields of a matrix add up, if they are shares. */
function sumsText(table, insight, across, down) {
  if (!table.share_of || !insight.id.endsWith('_share')) return '';
  const axes = [across, down].filter(key => table.share_of.includes(key.name));
  if (axes.length === 0 || axes.length < table.share_of.length) return '';
  const [of] = [across, down].filter(key => !axes.includes(key));
  return `The fields ${of ? `of each ${plain(of)} ` : ''}add up to 100 %, with those that are not shown.`;
}

/** Both values of pairs: keys such as `category` and `with_category`. */
function pairKeys(keys) {
  const [other] = keys.filter(key => key.name.startsWith('with_'));
  const one = keys.find(key => other?.name === `with_${key.name}`);
  const count = one && new Set([...one.values, ...other.values]).size;
  return count <= MATRIX_MAX ? [one, other] : null;
}

/** Each pair once, below the diagonal: the smaller value across. */
function pairView(table, view, [one, other], others) {
  const rows = pick(table, view, others);
  const lift = view.insight.id === 'lift';
  const title = `${view.insight.title} of pairs of ${plain(one)}`;
  return { ...grid(table, view, rows, one, other, false), title, note: lift
    ? 'Above 1: who pays at one is likelier than others to pay at the other. Below 1: less likely.'
    : 'Customers who paid at both.' };
}

/** Where customers are at home, and where they pay: keys such as `home_region` and `region`. */
function flowKeys(keys) {
  for (const home of keys) {
    const to = keys.find(key => home.name === `home_${key.name}`);
    if (to && Math.max(home.values.length, to.values.length) <= MATRIX_MAX) return [home, to];
  }
  return null;
}

function flowView(table, view, [home, to], others) {
  const rows = pick(table, view, others);
  const flows = grid(table, view, rows, to, home, false, true);
  return { ...flows, title: `${view.insight.title}, from ${plain(home)} to ${plain(to)}`,
    note: `Each row is of customers with that ${plain(home)}, each column of where they paid. ${flows.note} Colours go by the `
      + 'root, so that small flows can be told apart.' };
}

/** Two keys against each other; on narrow screens a wide one may lie down. */
function grid(table, view, rows, across, down, turns, rooted = false) {
  const [column] = view.insight.columns;
  const cells = new Map(rows.map(row => [`${across.codes[row]} ${down.codes[row]}`, cellAt(column, row)]));
  const side = key => sortedValues(key)
    .map(value => ({ code: key.values.indexOf(value), name: keyText(key.name, value) }));
  const [wide, tall] = [side(across), side(down)];
  const list = rows.map(row => ({
    name: [down, across].map(key => keyText(key.name, valueAt(key, row))).join(' · '), cell: cellAt(column, row),
  }));
  const turned = width => turns && width < 640;
  return {
    ...view, list, wide: turns || wide.length > 7, note: sumsText(table, view.insight, across, down),
    height: width => MATRIX.head + MATRIX.down * (turned(width) ? wide : tall).length,
    width: width => matrixWidth((turned(width) ? tall : wide).length, width),
    option: (colors, width) => (turned(width)
      ? matrixChart(tall, wide, (x, y) => cells.get(`${y.code} ${x.code}`), view.insight, colors, width)
      : matrixChart(wide, tall, (x, y) => cells.get(`${x.code} ${y.code}`), view.insight, colors, width, rooted)),
  };
}
