// Options for the chart library. Each estimate is drawn with its interval.

const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const palette = () => ({
  ink: css('--ink'), soft: css('--soft'), line: css('--line'), card: css('--card'),
  low: css('--heat-low'), high: css('--heat-high'), none: css('--none'),
  series: [1, 2, 3, 4, 5].map(number => css(`--series-${number}`)),
});

// Of grade D: bars are hatched, lines and frames dashed, points and fields faint.
const DASHES = [4, 3];
const FAINT = 0.45;
const HATCH = { symbol: 'rect', dashArrayX: [1, 0], dashArrayY: [1.5, 4], rotation: -Math.PI / 4 };

function base(colors) {
  return {
    animation: false,
    textStyle: { fontFamily: css('--font'), color: colors.ink },
    tooltip: {
      confine: true, backgroundColor: colors.card, borderColor: colors.line,
      textStyle: { color: colors.ink, fontSize: 13 }, extraCssText: 'max-width:26rem;white-space:normal',
    },
  };
}

function valueAxis(insight, colors, more = {}) {
  const ends = insight.kind === 'place' ? { min: 0, max: 1 } : {};
  return {
    type: 'value', inverse: insight.kind === 'place', ...ends,
    axisLabel: { color: colors.soft, formatter: value => shown(value, insight, true), hideOverlap: true },
    splitLine: { lineStyle: { color: colors.line } }, splitNumber: 4, ...more,
  };
}

const BALANCE = 100;

/** Ends of an axis that has as much room on both sides of the middle. */
function balanced(values) {
  const step = roundStep(Math.max(...values.map(value => Math.abs(value - BALANCE)), 1) / 2);
  return { min: BALANCE - 2 * step, max: BALANCE + 2 * step, interval: step };
}

/** 1, 2 or 5 times a power of ten, no less than this. */
function roundStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find(times => times * power >= rough);
}

/** Ends of all intervals, and of bands in place of values. */
const endsOf = cells => cells.flatMap(cell => {
  if (cell?.told) return toldEnds(cell).filter(end => end !== null);
  return cell?.x == null ? [] : [cell.low, cell.high];
});

function nameAxis(names, colors, more = {}) {
  return {
    type: 'category', data: names, axisTick: { show: false }, axisLine: { lineStyle: { color: colors.line } },
    axisLabel: { color: colors.ink, ...more.axisLabel }, ...more.axis,
  };
}

const tip = (title, cell, insight) => `<b>${escaped(title)}</b><br>${escaped(sentence(cell, insight))}`;

/** Bars with intervals: `bars` are `{ name, cell, faded }`. Lying, or standing for things in an order. */
function barChart(bars, insight, colors, { standing = false } = {}) {
  const color = colors.series[0];
  // A place is no amount, so it has no bar.
  const dots = insight.kind === 'place';
  const value = ({ cell }, at) => (dots ? [standing ? at : cell.x ?? '-', standing ? cell.x ?? '-' : at] : cell.x);
  const data = bars.map(({ cell, faded }, at) => ({
    value: value({ cell }, at),
    itemStyle: { color, opacity: faded ? 0.3 : dots && cell.grade === 'D' ? FAINT : 0.85, decal: cell.grade === 'D' ? HATCH : { symbol: 'none' } },
  }));
  const lines = {
    type: 'custom', z: 5, silent: true,
    data: bars.map(({ cell }, at) => [at, ...endsIn(cell)]),
    renderItem: (params, api) => interval(bars[params.dataIndex], insight, colors, { ...params, api }, standing),
    encode: standing ? { x: 0, y: [1, 2] } : { x: [1, 2], y: 0 },
  };
  const names = bars.map(bar => bar.name);
  const values = valueAxis(insight, colors);
  const axis = standing
    ? nameAxis(names, colors, { axisLabel: { rotate: names.length > 12 ? 45 : 0, hideOverlap: true } })
    : nameAxis(names, colors, { axis: { inverse: true }, axisLabel: { width: 120, overflow: 'truncate' } });
  const rounded = standing ? [3, 3, 0, 0] : [0, 3, 3, 0];
  const labels = bars.filter(({ cell }) => cell.x !== null).map(({ cell }) => textWidth(barLabel(cell, insight)));
  return {
    ...base(colors),
    grid: { left: standing ? 8 : 16, right: standing ? 12 : Math.max(12, ...labels) + 14, top: 12, bottom: 8, containLabel: true },
    tooltip: {
      ...base(colors).tooltip, trigger: 'axis', axisPointer: { type: 'shadow' },
      formatter: ([{ dataIndex }]) => tip(bars[dataIndex].name, bars[dataIndex].cell, insight),
    },
    xAxis: standing ? axis : values,
    yAxis: standing ? values : axis,
    series: [
      { ...(dots ? { type: 'scatter', symbolSize: 9 } : { type: 'bar', barMaxWidth: standing ? 48 : 18 }), data,
        itemStyle: { borderRadius: rounded }, markLine: bandLines(insight, colors, standing ? 'yAxis' : 'xAxis') },
      lines,
    ],
  };
}

/** What stands beside a lying bar. */
const barLabel = (cell, insight) => `${shown(cell.x, insight, true)} ${margin(cell, insight)}`;
const LABEL = 11.5;
const pen = document.createElement('canvas').getContext('2d');

/** How wide a label is. */
function textWidth(text) {
  pen.font = `${LABEL}px ${css('--font')}`;
  return Math.ceil(pen.measureText(text).width);
}

/** Where one band of an insight ends and the next begins; the middle of a balance. */
function bandLines({ bands, kind }, colors, axis) {
  const ends = kind === 'balance' ? [[BALANCE]] : (bands ?? []).filter(([to]) => to !== null);
  return {
    silent: true, symbol: 'none', animation: false, lineStyle: { color: colors.soft, type: 'dotted', width: 1 },
    label: { show: false }, data: ends.map(([to]) => ({ [axis]: to })),
  };
}

/** What a chart must have room for, of a cell: its interval, or its band as far as it has ends. */
function endsIn(cell) {
  if (!cell.told) return [cell.low ?? 0, cell.high ?? 0];
  const [from, to] = toldEnds(cell);
  return [from ?? 0, to ?? from];
}

/** A dashed line over a band that stands in place of a value; open where the band has no end. */
function bandMark(cell, x, yOf, { y, height }, colors) {
  const [from, to] = toldEnds(cell);
  const [foot, head] = [from === null ? y + height : yOf(from), to === null ? y : yOf(to)];
  const line = (x1, y1, x2, y2, lineDash) => ({ type: 'line', shape: { x1, y1, x2, y2 },
    style: { stroke: colors.ink, lineWidth: 1.4, opacity: 0.75, lineDash } });
  const ends = [from !== null && foot, to !== null && head].filter(end => end !== false);
  return { type: 'group', children: [line(x, foot, x, head, [3, 3]), ...ends.map(end => line(x - 4, end, x + 4, end))] };
}

/** The line from the low to the high end of a bar's interval; beside lying bars their value. */
function interval({ cell }, insight, colors, { api, coordSys }, standing) {
  const at = api.value(0);
  const point = value => api.coord(standing ? [at, value] : [value, at]);
  const words = { fill: colors.soft, fontSize: LABEL, fontFamily: css('--font'), textVerticalAlign: 'middle' };
  if (cell.told && standing) return bandMark(cell, point(0)[0], value => point(value)[1], coordSys, colors);
  if (cell.x === null) {
    const [x, y] = point(insight.kind === 'place' && !standing ? 1 : 0);
    const text = cell.told ? `in the band ${toldText(cell, insight)}` : cell.reason ? `not shown: ${cell.reason}` : 'no estimate';
    const style = { ...words, text: standing ? '×' : text, x: standing ? x - 3 : x + 6, y: standing ? y - 8 : y,
      width: api.getWidth() - x - 8, overflow: 'truncate' };
    return { type: 'text', style };
  }
  const [[x1, y1], [x2, y2]] = [point(cell.low), point(cell.high)];
  const stroke = { stroke: colors.ink, lineWidth: 1.4, opacity: 0.75 };
  const cap = 4;
  const line = (a, b, c, d) => ({ type: 'line', shape: { x1: a, y1: b, x2: c, y2: d }, style: stroke });
  const children = standing
    ? [line(x1, y1, x2, y2), line(x1 - cap, y1, x1 + cap, y1), line(x2 - cap, y2, x2 + cap, y2)]
    : [line(x1, y1, x2, y2), line(x1, y1 - cap, x1, y1 + cap), line(x2, y2 - cap, x2, y2 + cap)];
  if (!standing) {
    children.push({ type: 'text', style: { ...words, text: barLabel(cell, insight), x: Math.max(x1, x2) + 7, y: y1 } });
  }
  return { type: 'group', children };
}

const PANEL = { height: 150, gap: 40, least: 150, most: 4, top: 4 };

/** How many panels stand side by side. */
const panelsAcross = (count, width) => Math.max(1, Math.min(count, Math.floor(width / PANEL.least), PANEL.most));
const panelsHeight = (count, width) => (count === 1 ? 300
  : Math.ceil(count / panelsAcross(count, width)) * (PANEL.height + PANEL.gap) + 8);

/** Lines with bands, each in a panel of its own, so that no band hides another, with the same scale but for lines of other
 *  currencies: `lines` are `{ name, cells, currency }`, a cell or `null` for each of `times`. */
function trendChart(lines, times, insight, colors, width) {
  const alone = lines.length === 1;
  const across = panelsAcross(lines.length, width);
  const share = 100 / across;
  const ends = lines.flatMap(({ cells }) => endsOf(cells));
  const endsBeside = ({ currency }) => lines.flatMap(line => (line.currency === currency ? endsOf(line.cells) : []));
  const left = Math.max(...ends.map(end => shown(end, insight, true).length), 2) * 7 + 14;
  const place = at => ({ left: `${(at % across) * share}%`, top: PANEL.top + Math.floor(at / across) * (PANEL.height + PANEL.gap) });
  const grids = lines.map((line, at) => ({
    left: alone ? 8 : `${(at % across) * share + (left / width) * 100}%`, width: alone ? 'auto'
      : `${share - ((left + 18) / width) * 100}%`, right: alone ? 16 : 'auto', containLabel: alone,
    top: alone ? 16 : place(at).top + 26, height: alone ? 'auto' : PANEL.height - 26, bottom: alone ? 8 : 'auto',
  }));
  const scale = line => (insight.kind === 'balance' ? balanced(ends) : alone ? {} : sharedScale(endsBeside(line)));
  const formatter = ({ seriesIndex, value }) => {
    const { name, cells } = lines[Math.floor(seriesIndex / PANEL_SERIES)];
    const at = value[0];
    const head = `${alone ? '' : `${name}, `}${times[at].name}${times[at].part ? ' (part of it)' : ''}`;
    return cells[at] ? tip(head, cells[at], insight) : escaped(`${head}: no row`);
  };
  const names = times.map(time => time.name);
  return {
    ...base(colors),
    title: alone ? [] : lines.map(({ name }, at) => ({
      text: name, ...place(at), padding: 0,
      textStyle: { fontSize: 12.5, fontWeight: 600, color: colors.ink, width: width / across - 12, overflow: 'truncate' },
    })),
    grid: grids,
    tooltip: { ...base(colors).tooltip, trigger: 'item', formatter },
    xAxis: grids.map((grid, gridIndex) => nameAxis(names, colors, {
      axis: { gridIndex }, axisLabel: { color: colors.soft, hideOverlap: true, fontSize: alone ? 12 : 11 },
    })),
    yAxis: grids.map((grid, gridIndex) => valueAxis(insight, colors, {
      gridIndex, ...scale(lines[gridIndex]), splitNumber: alone ? 4 : 3,
      axisLabel: { color: colors.soft, fontSize: alone ? 12 : 11, formatter: value => shown(value, insight, true) },
    })),
    series: lines.flatMap((line, at) => panel(line, at, times, insight, colors, (width / across - left) / times.length)),
  };
}

/** Round ends of an axis that holds zero and all these values. */
function sharedScale(values) {
  const [least, most] = [Math.min(0, ...values), Math.max(0, ...values)];
  const step = roundStep((most - least || 1) / 3);
  return { min: Math.floor(least / step) * step, max: Math.ceil(most / step) * step, interval: step };
}

const PANEL_SERIES = 6;

/** The series of one panel: foot and height of its band, its line where it is weak and where it is not, its points, and marks
 *  for what is not shown. A time has `room` to the next one. */
function panel({ name, cells }, at, times, insight, colors, room) {
  const [color] = colors.series;
  const axes = { xAxisIndex: at, yAxisIndex: at };
  const band = (data, areaStyle) => ({
    type: 'line', data, ...axes, stack: `band ${at}`, stackStrategy: 'all', silent: true, symbol: 'none',
    lineStyle: { opacity: 0 }, areaStyle, z: 1,
  });
  const line = (data, lineStyle, more = {}) => ({
    type: 'line', name, data, color, ...axes, silent: true, symbol: 'none', z: 3, lineStyle: { width: 2, ...lineStyle }, ...more,
  });
  const weak = cell => cell?.grade === 'D';
  const besideWeak = time => [-1, 0, 1].some(step => weak(cells[time + step]));
  const size = Math.min(6, Math.max(3, 0.6 * room));
  const points = cells.flatMap((cell, time) => (cell == null || cell.x === null ? [] : [{
    value: [time, cell.x], symbolSize: times[time].part ? 7 : weak(cell) ? Math.min(4, size) : size,
    itemStyle: times[time].part ? { color: colors.card, borderColor: color, borderWidth: 1.5, opacity: 1 }
      : { color, opacity: weak(cell) ? FAINT : 1 },
  }]));
  return [
    band(cells.map(cell => cell?.low ?? null), { opacity: 0 }),
    band(cells.map(cell => (cell && cell.x !== null ? cell.high - cell.low : null)), { color, opacity: 0.22 }),
    line(cells.map((cell, time) => (besideWeak(time) ? cell?.x ?? null : null)), { type: DASHES }),
    line(cells.map(cell => (weak(cell) ? null : cell?.x ?? null)), {}, { markLine: bandLines(insight, colors, 'yAxis') }),
    // Every one of them, however narrow the page: a period that is cut must be seen to be.
    { type: 'scatter', name, data: points, ...axes, symbol: 'circle', z: 4 },
    { type: 'custom', ...axes, data: hidden(cells), z: 4, encode: { x: 0, y: [1, 2] },
      renderItem: instead(cells, colors) },
  ];
}

/** Where an estimate is not shown. */
const hidden = cells => cells.flatMap((cell, at) => (cell && cell.x === null ? [[at, ...endsIn(cell)]] : []));

/** Its band in place of it, or a cross at the foot of the trend. */
const instead = (cells, colors) => ({ coordSys }, api) => {
  const at = api.value(0);
  const [x] = api.coord([at, 0]);
  if (cells[at].told) return bandMark(cells[at], x, value => api.coord([at, value])[1], coordSys, colors);
  const { y, height } = coordSys;
  return { type: 'text', style: { text: '×', x: x - 4, y: y + height - 15, fill: colors.soft, fontSize: 14 } };
};

// A field has room for its number; where the page is narrower, the matrix is moved sideways.
const MATRIX = { names: 90, least: 38, down: 32, head: 60 };
const matrixWidth = (columns, width) => Math.max(width, MATRIX.names + MATRIX.least * columns);

/** Two of `{ name, ... }` against each other; `cellOf(column, row)` is a cell or `null`. Colours go by the values, or by
 *  their roots. */
function matrixChart(columns, rows, cellOf, insight, colors, width, rooted = false) {
  const data = [];
  let [least, most] = [Infinity, -Infinity];
  rows.forEach((row, y) => columns.forEach((column, x) => {
    const cell = cellOf(column, row);
    if (!cell) return;
    data.push({ value: [x, y], cell });
    if (cell.x !== null) [least, most] = [Math.min(least, cell.x), Math.max(most, cell.x)];
  }));
  least = ['count', 'money', 'share'].includes(insight.kind) ? Math.min(0, least) : least;
  const filled = x => {
    const part = (x - least) / (most - least || 1);
    return mixed(colors.low, colors.high, insight.kind === 'place' ? 1 - part : rooted ? Math.sqrt(part) : part);
  };
  const [room, font] = [(width - MATRIX.names) / columns.length, css('--font')];
  const renderItem = (params, api) => {
    const { cell } = data[params.dataIndex];
    const [x, y] = api.coord([api.value(0), api.value(1)]);
    const [w, h] = api.size([1, 1]).map(size => Math.max(size - 2, 1));
    const fill = cell.told ? colors.card : cell.x === null ? colors.none : filled(cell.x);
    const weak = cell.grade === 'D' && cell.x !== null;
    // Weak fields are mostly the page's colour.
    const ink = cell.told ? colors.ink : cell.x === null ? colors.soft : weak ? colors.ink : contrast(fill);
    const text = (words, dy, fontSize, opacity) => ({
      type: 'text', style: { text: words, x, y: y + dy, fill: ink, fontSize, fontFamily: font, opacity, textAlign: 'center',
        textVerticalAlign: 'middle' },
    });
    const children = [{
      type: 'rect', shape: { x: x - w / 2, y: y - h / 2, width: w, height: h, r: 2 },
      style: { fill, opacity: weak ? FAINT : 1, stroke: weak || cell.told ? colors.soft : 'none', lineDash: cell.told ? [] : DASHES,
        lineWidth: 1 },
    }];
    if (cell.told) {
      const parts = toldShort(cell);
      const lines = parts.join('').length * 6 < room - 6 ? [parts.join('')] : parts;
      children.push(...lines.map((words, at) => text(words, 12 * at - 6 * (lines.length - 1), 9.5, 1)));
    } else if (cell.x === null) children.push(text('×', 0, 12, 0.8));
    else {
      children.push(text(shown(cell.x, insight, true), -6, room < 48 ? 10 : 11.5, 1));
      const half = margin(cell, insight);
      children.push(text(room < 52 ? half.replace(' pts', '') : half, 8, room < 48 ? 8.5 : 9.5, 0.85));
    }
    return { type: 'group', children };
  };
  const turned = columns.some(({ name }) => (room < 70 && name.length > 4) || name.length * 6.5 > room);
  return {
    ...base(colors),
    // Some labels are a little wider than they are thought to be.
    grid: { left: 10, right: 8, top: 4, bottom: 4, containLabel: true },
    tooltip: {
      ...base(colors).tooltip,
      formatter: ({ dataIndex }) => {
        const { value: [x, y], cell } = data[dataIndex];
        return tip(`${rows[y].name} · ${columns[x].name}`, cell, insight);
      },
    },
    xAxis: nameAxis(columns.map(c => c.name), colors, { axis: { position: 'top', axisLine: { show: false } },
      axisLabel: { interval: 0, fontSize: 11, rotate: turned ? 50 : 0, ...(turned ? { width: 84, overflow: 'truncate' } : {}) } }),
    yAxis: nameAxis(rows.map(r => r.name), colors, { axis: { inverse: true, axisLine: { show: false } },
      axisLabel: { interval: 0, fontSize: 11, width: 84, overflow: 'truncate' } }),
    series: [{ type: 'custom', renderItem, data, encode: { x: 0, y: 1 } }],
  };
}

/** Half the interval against the estimate, by the estimate's size: medians of classes of sizes. */
function errorChart(lines, colors) {
  const percent = value => format(value, { style: 'percent', maximumSignificantDigits: 2 });
  return {
    ...base(colors),
    grid: { left: 24, right: 16, top: 40, bottom: 28, containLabel: true },
    legend: { top: 0, left: 0, type: 'scroll', textStyle: { color: colors.ink }, itemWidth: 26, itemHeight: 7 },
    tooltip: {
      ...base(colors).tooltip, trigger: 'item',
      formatter: ({ seriesName, data: [size, error, count] }) => `<b>${escaped(seriesName)}</b><br>cells near ${
        format(size, { notation: 'compact' })}: half of ${count} have less than ±${percent(error)}`,
    },
    xAxis: { type: 'log', name: 'estimate', nameLocation: 'middle', nameGap: 26, nameTextStyle: { color: colors.soft },
      axisLabel: { color: colors.soft, formatter: value => format(value, { notation: 'compact' }) },
      splitLine: { show: false }, min: 'dataMin' },
    yAxis: { type: 'log', name: 'half the interval', nameLocation: 'middle', nameGap: 50, nameTextStyle: { color: colors.soft },
      axisLabel: { color: colors.soft, formatter: value => `±${percent(value)}` },
      splitLine: { lineStyle: { color: colors.line } } },
    series: lines.map(({ name, points }, place) => ({
      type: 'line', name, data: points, color: colors.series[place % 5], symbolSize: 7,
      // More lines than colours differ in marks and dashes.
      symbol: ['circle', 'rect', 'triangle', 'diamond'][Math.floor(place / 5)],
      lineStyle: { type: ['solid', 'dashed', 'dotted', [8, 3, 2, 3]][Math.floor(place / 5)] },
    })),
  };
}

const channels = color => [1, 3, 5].map(at => parseInt(color.slice(at, at + 2), 16));

function mixed(from, to, share) {
  const [a, b] = [channels(from), channels(to)];
  const mix = a.map((value, at) => Math.round(value + (b[at] - value) * share));
  return `#${mix.map(value => value.toString(16).padStart(2, '0')).join('')}`;
}

/** Black or white, whichever can be read on a colour. */
function contrast(color) {
  const [r, g, b] = channels(color);
  return (r * 299 + g * 587 + b * 114) / 1000 > 140 ? '#10202a' : '#ffffff';
}
