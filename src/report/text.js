// Words and numbers. All text reaches the page as text nodes, or escaped, never as markup.

/** An element with attributes and children; texts become text nodes. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return node;
}

const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** For tooltips, which the chart library takes as HTML. */
const escaped = text => String(text).replace(/[&<>"']/g, sign => ESCAPES[sign]);

const format = (value, options) => new Intl.NumberFormat('en', options).format(value);

/** A name of the tables as words. */
const words = name => {
  const text = String(name).replaceAll('_', ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
};

/** What an insight is called. */
const titleOf = (id, known) => known?.[id]?.title ?? words(id);

/** A value of an insight: `short` for labels, else to the digits that it has. */
function shown(value, insight, short = false, roundingMode = 'halfExpand') {
  if (value === null || value === undefined) return '–';
  const { kind, currency } = insight;
  const write = options => format(value, { signDisplay: 'negative', roundingMode, ...options });
  if (kind === 'share') return write({ style: 'percent', maximumFractionDigits: pointDigits(value, insight) });
  if (kind === 'place') return `top ${write({ style: 'percent', maximumFractionDigits: pointDigits(value, insight) })}`;
  if (short) return write(kind === 'count' && Math.abs(value) < 100 ? { maximumFractionDigits: 0 } : shortly(value, 3));
  const number = write(kind === 'count' ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 6 });
  return kind === 'money' && currency ? `${currency} ${number}` : number;
}

/** Digits of a percentage after the point. Never to whole percents: of 94.6 to 94.8 % it would say 95. */
const pointDigits = (value, { kind }) => (kind === 'share' && Math.abs(value) < 0.01 ? 2 : 1);

/** An insight in the currency of a cell, where cells are in several. */
const inCurrency = (insight, { currency }) => (currency ? { ...insight, currency } : insight);

const shortly = (value, digits) => ({
  maximumSignificantDigits: digits, ...(Math.abs(value) >= 10000 ? { notation: 'compact' } : {}),
});

/** Both ends of an interval, rounded outward. */
const shownEnds = ({ low, high }, insight) => [shown(low, insight, false, 'floor'), shown(high, insight, false, 'ceil')];

/** A value and the ends of its interval in large type: all three to the same digits. */
function shownLarge({ x, low, high }, insight) {
  const write = (value, roundingMode) => (['count', 'money'].includes(insight.kind) && Math.abs(x) >= 1e6
    ? format(value, { ...shortly(value, 4), roundingMode, signDisplay: 'negative' })
    : shown(value, { ...insight, currency: null }, false, roundingMode));
  return [write(x, 'halfExpand'), write(low, 'floor'), write(high, 'ceil')];
}

/** Half the width of an interval against its estimate, in percent; of shares and the like in points, to the digits of
 *  the estimate, rounded up. */
function margin(cell, insight) {
  if (cell.x === null) return '';
  const half = (cell.high - cell.low) / 2;
  if (['share', 'place'].includes(insight.kind)) {
    const digits = pointDigits(cell.x, insight);
    return `±${format(100 * half, { maximumFractionDigits: digits, roundingMode: 'ceil' })} pts`;
  }
  const share = half / Math.abs(cell.x);
  if (!Number.isFinite(share) || share >= 10) return '±>999%';
  return `±${format(share, { style: 'percent', maximumFractionDigits: 1 })}`;
}

/** Why an estimate is not shown, by the tables' word for it. */
const REASONS = {
  error: 'too uncertain', merchants: 'too few merchants, or few that have most of it', 'look-ahead': 'no whole period after it',
  'no-period': 'no whole period to compare with', peers: 'too few merchants to compare',
};
const reasonText = word => REASONS[word] ?? words(word).toLowerCase();

/** A band in place of a value: `1,000 to 10,000`. */
function toldText({ told }, { kind, currency }) {
  const text = told.replace(/\d+(\.\d+)?/g, number => format(Number(number)));
  return kind === 'money' && currency ? `${currency} ${text}` : text;
}

/** The ends of a band in place of a value; `null` where it has none. */
function toldEnds({ told }) {
  const ends = told.match(/\d+(\.\d+)?/g).map(Number);
  if (ends.length === 2) return ends;
  return told.startsWith('below') ? [null, ends[0]] : [ends[0], null];
}

/** The same for labels, in one part or, of two ends, two: `< 1K`, `1K–` and `5K`, `≥ 5K`. */
function toldShort(cell) {
  const [from, to] = toldEnds(cell);
  const text = value => format(value, { notation: 'compact', maximumSignificantDigits: 3 });
  if (from === null) return [`< ${text(to)}`];
  return to === null ? [`≥ ${text(from)}`] : [`${text(from)}–`, text(to)];
}

/** `1,838 (1,659 to 2,071), grade B`, or why there is nothing. */
function sentence(cell, insight) {
  if (cell.told) return `${toldText(cell, inCurrency(insight, cell))}, told in a band for its merchants`;
  if (cell.x === null) return cell.reason ? `not shown: ${cell.reason}` : 'no estimate: the noise drowns it';
  const own = inCurrency(insight, cell);
  const [x, [low, high]] = [shown(cell.x, own), shownEnds(cell, own)];
  return `${x} (${low} to ${high})${cell.band ? `: ${cell.band}` : ''}, grade ${cell.grade}`;
}

const WEEKDAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];
const day = text => new Date(`${text}T00:00:00Z`);
const dated = (date, options) => date.toLocaleDateString('en-GB', { timeZone: 'UTC', ...options });

/** A day; with its year, where the job's days or this one are of several. */
function dayText(value) {
  const { first_day: first, last_day: last } = release.job;
  const years = new Set([first, last, value].map(text => text.slice(0, 4)));
  return dated(day(value), { day: 'numeric', month: 'short', ...(years.size > 1 ? { year: 'numeric' } : {}) });
}

/** A value of a key, for people. */
function keyText(key, value) {
  switch (key) {
    case 'weekday': return WEEKDAYS[value - 1];
    case 'hour': return `${String(value).padStart(2, '0')}h`;
    case 'month': return dated(day(value), { month: 'short', year: 'numeric' });
    case 'quarter': return `Q${Math.floor(day(value).getUTCMonth() / 3) + 1} ${value.slice(0, 4)}`;
    case 'day':
    case 'week': return dayText(value);
    default: return value;
  }
}

/** The end of the period that starts at a value of a calendar key. */
function periodEnd(key, value) {
  const date = day(value);
  if (key === 'week') date.setUTCDate(date.getUTCDate() + 6);
  if (key === 'month') date.setUTCMonth(date.getUTCMonth() + 1, 0);
  if (key === 'quarter') date.setUTCMonth(date.getUTCMonth() + 3, 0);
  return date;
}

/** What a column of several is of: `from_5`, then `from_10`, is `5 – 10`; `3_4` is `3 – 4`. */
function partText(part, next) {
  const edge = text => format(Number(text.slice('from_'.length).replace('_', '.')));
  if (part.startsWith('from_')) return next ? `${edge(part)} – ${edge(next)}` : `${edge(part)} or more`;
  if (/^\d+_\d+$/.test(part)) return part.replace('_', ' – ');
  return part.endsWith('_up') ? `${part.slice(0, -3)} or more` : words(part).toLowerCase();
}
