//! The obvious engine: maps of maps, for tests and the audit. Slow, and as plain as the
//! definition.

mod cells;

use std::collections::{BTreeMap, BTreeSet};

use cells::{attribute_of, key_of, move_home, pair_up};

use super::{
    Engine, ExactSurveys, ExactTotals, LevelTotals, Settle, SurveyTotals, TICKETS_MAX, clamp_total,
};
use crate::error::Result;
use crate::job::{Job, Key, StatisticKind, centred_log, ticket_log};
use crate::payments::{Batch, Scan, ScanControl};
use crate::plan::{
    CellKey, KeyValue, LevelPlan, Plan, Selection, StatisticPlan, SurveyPlan, TicketPlan,
};

/// The obvious engine.
pub struct Reference<'a> {
    /// How it can be watched and stopped.
    pub control: ScanControl<'a>,
}

/// One payment or refund of a user.
#[derive(Clone, Copy)]
struct Paid {
    /// From the first day of the period on.
    day: u32,
    amount: i64,
}

/// One user's payments by cell.
type UserCells = BTreeMap<CellKey, Vec<Paid>>;

/// By the privacy unit: its period, and the user.
type Users = BTreeMap<Unit, UserCells>;
type Unit = (u32, String);

/// How often a unit has paid, or been paid back, by column of the table of merchants and its value.
type Homes = BTreeMap<Unit, BTreeMap<String, BTreeMap<String, usize>>>;

impl Engine for Reference<'_> {
    fn totals(&self, plan: &Plan, settle: Settle) -> Result<(Plan, ExactTotals)> {
        let mut users: Vec<Users> = vec![BTreeMap::new(); plan.levels.len()];
        let mut homes = Homes::new();
        let unit_of_day = plan.job.privacy.unit.periods(plan.job.payments.period);
        let sink = |batch: &Batch| {
            for payment in batch.payments() {
                let unit = (unit_of_day[payment.hour as usize / 24], payment.user.to_owned());
                for home in plan.homes() {
                    let value = attribute_of(&plan.job, &home.attribute, &payment).to_owned();
                    let own = homes.entry(unit.clone()).or_default();
                    let counts = own.entry(home.attribute.clone()).or_default();
                    *counts.entry(value).or_default() += 1;
                }
                for (users, level) in users.iter_mut().zip(&plan.levels) {
                    let cells = users.entry(unit.clone()).or_default();
                    let paid = Paid { day: payment.hour / 24, amount: payment.amount };
                    cells.entry(key_of(plan, level, &payment)).or_default().push(paid);
                }
            }
            Ok(())
        };
        Scan::open(plan)?.run(self.control, u64::MAX, vec![sink])?;
        for (users, level) in users.iter_mut().zip(&plan.levels) {
            for (unit, cells) in users.iter_mut() {
                pair_up(level, cells);
                move_home(level, homes.get(unit), cells);
            }
        }
        // users: level → user → cell → payments
        let mut plan = plan.clone();
        while plan.is_seeking() {
            let levels = plan.levels.iter().zip(&users);
            let round = levels.filter_map(|(level, users)| round_totals(level, users)).collect();
            plan = settle(ExactSurveys { surveys: Vec::new(), round })?;
        }
        if !plan.is_settled() {
            let one = |survey: &SurveyPlan| survey_totals(&plan, survey, &users[survey.level]);
            let surveys = plan.surveys.iter().map(one).collect();
            plan = settle(ExactSurveys { surveys, round: Vec::new() })?;
        }
        let levels = plan.levels.iter().zip(users);
        let levels = levels.map(|(l, u)| level_totals(&plan.job, l, u).with_always(l));
        let totals = ExactTotals { levels: levels.collect() };
        Ok((plan, totals))
    }
}

/// Definition of the rounds that look for keys: each user has 1/√k in each of k cells.
fn round_totals(level: &LevelPlan, users: &Users) -> Option<LevelTotals> {
    let round = level.round()?;
    let one = 1u128 << round.noise.grid_bits;
    let mut totals: BTreeMap<CellKey, i128> = BTreeMap::new();
    for all in users.values() {
        let cells = kept(level, all.clone());
        let each = one * one / root_up(cells.len() as u128 * one * one).max(1);
        cells.into_iter().for_each(|(key, _)| *totals.entry(key).or_default() += each as i128);
    }
    let sums = vec![totals.values().map(|&sum| clamp_total(sum)).collect()];
    Some(LevelTotals { keys: totals.into_keys().collect(), sums })
}

/// Definition of the surveys: users by half octaves of their norms, and Σ of Σ|x|/‖x‖₂.
fn survey_totals(plan: &Plan, survey: &SurveyPlan, users: &Users) -> SurveyTotals {
    let level = &plan.levels[survey.level];
    if let (Some(tickets), Some(_)) = (&level.tickets, survey.ticket_groups) {
        return ticket_totals(plan, (survey, tickets), users);
    }
    let kind = level.statistics[survey.statistic].kind;
    let (mut counts, mut spreads) = (vec![0; SurveyPlan::BINS], 0);
    for all in users.values() {
        let cells = counted(level, kept(level, all.clone()), kind);
        let numbers = cells.iter().flat_map(|(key, paid)| match kind {
            StatisticKind::NewReturning => new_returning(level, all, key),
            StatisticKind::Recency => recency(level, (key, paid)),
            StatisticKind::Cohorts => cohort(level, all, key),
            StatisticKind::Diffusion | StatisticKind::DiffusionYear => {
                changed(level, all, key, kind)
            }
            _ => scaled(level, key, kind, numbers(&plan.job, kind, paid)),
        });
        let numbers: Vec<u128> = numbers.map(|x| survey.capped(x).unsigned_abs()).collect();
        let squares: u128 = numbers.iter().map(|x| x * x).sum();
        if squares == 0 {
            continue;
        }
        // The last bin with 2^bin ≤ squares.
        let bin = (0..SurveyPlan::BINS).rev().find(|&bin| 1u128 << bin <= squares);
        counts[bin.expect("2^0 is not above it")] += 1;
        if let Some(spread) = survey.spread {
            let cut = numbers.iter().sum::<u128>() * (1 << 32) / root_up(squares);
            let most = (SurveyPlan::SPREAD_MAX as u128) << spread.grid_bits;
            spreads += ((cut << spread.grid_bits) >> 32).min(most) as i128;
        }
    }
    SurveyTotals::new(&counts, spreads, survey)
}

/// Definition of the surveys of tickets: each user's, by group and bin, scaled down to a norm of 1.
fn ticket_totals(
    plan: &Plan,
    (survey, tickets): (&SurveyPlan, &TicketPlan),
    users: &Users,
) -> SurveyTotals {
    let mut totals = vec![0i128; survey.bins()];
    let one = 1i128 << survey.histogram.grid_bits;
    for cells in users.values() {
        let mut own = vec![0i128; survey.bins()];
        for (key, paid) in cells {
            let group = tickets.group_of_cell(&plan.job, key);
            for paid in paid.iter().filter(|paid| paid.amount > 0) {
                let bin = TicketPlan::bin(ticket_log(paid.amount));
                own[group * TicketPlan::BINS + bin] += 1;
            }
        }
        let own: Vec<i128> =
            own.into_iter().map(|n| n.min(i128::from(TICKETS_MAX)) * one).collect();
        let squares: u128 = own.iter().map(|n| n.unsigned_abs().pow(2)).sum();
        let root = root_up(squares) as i128;
        for (total, n) in totals.iter_mut().zip(own) {
            *total += if root <= one { n } else { n * one / root };
        }
    }
    SurveyTotals::of_tickets(&totals)
}

fn level_totals(job: &Job, level: &LevelPlan, users: Users) -> LevelTotals {
    let mut totals: BTreeMap<CellKey, Vec<Vec<i128>>> = BTreeMap::new();
    for all in users.into_values() {
        let cells = kept(level, all.clone());
        for (place, statistic) in level.statistics.iter().enumerate() {
            let cells = counted(level, cells.clone(), statistic.kind);
            for ((key, _), value) in cells.iter().zip(fitted((job, level), &all, &cells, statistic))
            {
                let sums = totals
                    .entry(key.clone())
                    .or_insert_with(|| level.statistics.iter().map(|s| vec![0; s.width]).collect());
                for (sum, value) in sums[place].iter_mut().zip(value) {
                    *sum += i128::from(value);
                }
            }
        }
    }
    let keys = match level.selection {
        Selection::Public => level.cells.public_keys(job).expect("the job checked it"),
        Selection::Threshold { .. } | Selection::Discovered(_) => totals.keys().cloned().collect(),
    };
    let column = |place: usize| {
        let zeros = vec![0; level.statistics[place].width];
        let numbers = |key| totals.get(key).map_or(&zeros, |sums| &sums[place]);
        keys.iter().flat_map(numbers).map(|&sum| clamp_total(sum)).collect()
    };
    let sums = (0..level.statistics.len()).map(column).collect();
    LevelTotals { keys, sums }
}

/// The cells of a user that count: with private keys, and in rounds, those with most payments.
fn kept(level: &LevelPlan, cells: UserCells) -> Vec<(CellKey, Vec<Paid>)> {
    let mut cells: Vec<(CellKey, Vec<Paid>)> = cells.into_iter().collect();
    let cells_max = match &level.selection {
        Selection::Public => None,
        Selection::Threshold { cells_max, .. } => Some(*cells_max),
        Selection::Discovered(rounds) => level.round().map(|_| rounds.cells_max),
    };
    cells.retain(|(key, _)| !level.is_discovered() || level.counts(key));
    if let Some(cells_max) = cells_max {
        // Stable, so equals stay in the order of keys.
        cells.sort_by_key(|(_, paid)| {
            std::cmp::Reverse(paid.iter().filter(|paid| paid.amount >= 0).count())
        });
        cells.truncate(cells_max as usize);
    }
    cells
}

/// The cells in which a statistic counts a user: where they have payments, and of one that compares
/// periods also where they had some in the period before, with no payments in them.
fn counted(
    level: &LevelPlan,
    mut cells: Vec<(CellKey, Vec<Paid>)>,
    kind: StatisticKind,
) -> Vec<(CellKey, Vec<Paid>)> {
    let Some(changes) = level.changes.get(&kind) else { return cells };
    let times = &level.cells.times.groups;
    for (key, _) in cells.clone() {
        let own = changes.time_of(&key);
        for later in (0..times.len()).filter(|&time| changes.before(time) == Some(own)) {
            let mut values = times[later].iter();
            let at = |(key, value): (&Key, &KeyValue)| match key {
                Key::Time(_) => values.next().expect("a time has all of them").clone(),
                _ => value.clone(),
            };
            let key: CellKey = level.keys.iter().zip(&key).map(at).collect();
            if cells.iter().all(|(other, _)| *other != key) {
                cells.push((key, Vec::new()));
            }
        }
    }
    cells
}

/// ⌈√x⌉.
fn root_up(x: u128) -> u128 {
    let mut root = (x as f64).sqrt() as u128;
    while root * root > x {
        root -= 1;
    }
    while root * root < x {
        root += 1;
    }
    root
}

/// Definition of the fit: cap each number, then shrink all of them until the norm is in bound.
/// For each cell its `width` numbers.
fn fitted(
    (job, level): (&Job, &LevelPlan),
    all: &UserCells,
    cells: &[(CellKey, Vec<Paid>)],
    statistic: &StatisticPlan,
) -> Vec<Vec<i64>> {
    let cap = i128::from(statistic.noise.bound.cell_cap());
    let norm = i128::from(statistic.noise.bound.norm());
    let capped = |number: i128| (number * (1 << statistic.noise.grid_bits)).clamp(-cap, cap);
    let values: Vec<Vec<i128>> = cells
        .iter()
        .map(|(key, paid)| {
            let numbers = match &level.tickets {
                Some(tickets) if statistic.kind == StatisticKind::TicketLogs => {
                    let usual = tickets.usual(tickets.group_of_cell(job, key));
                    vec![logs(paid, usual)]
                }
                _ if statistic.kind == StatisticKind::NewReturning => {
                    new_returning(level, all, key)
                }
                _ if statistic.kind == StatisticKind::Recency => recency(level, (key, paid)),
                _ if statistic.kind == StatisticKind::Cohorts => cohort(level, all, key),
                _ if statistic.kind.compares() => changed(level, all, key, statistic.kind),
                _ => scaled(level, key, statistic.kind, numbers(job, statistic.kind, paid)),
            };
            numbers.into_iter().map(capped).collect()
        })
        .collect();
    let squares: i128 = values.iter().flatten().map(|v| v * v).sum();
    let root = root_up(squares as u128) as i128;
    // root = ⌈√squares⌉; division of i128 truncates toward zero
    let shrink = |v: i128| if squares <= norm * norm { v } else { v * norm / root };
    values.into_iter().map(|cell| cell.into_iter().map(|v| shrink(v) as i64).collect()).collect()
}

/// Definition of scales: numbers of a cell whose scale is 2^-shift, times 2^shift.
fn scaled(level: &LevelPlan, key: &CellKey, kind: StatisticKind, numbers: Vec<i128>) -> Vec<i128> {
    let shift = level.shift_of(kind, key);
    numbers.into_iter().map(|number| number * (1 << shift)).collect()
}

/// Is the user of all these cells new in one of them, or returning? Neither where the period does
/// not hold all days that tell.
fn new_returning(level: &LevelPlan, all: &UserCells, key: &CellKey) -> Vec<i128> {
    let look_back = level.look_back.as_ref().expect("the level has the statistic");
    let Some(days) = look_back.window(look_back.time_of(key)) else { return vec![0, 0] };
    let before = same_place(level, all, key)
        .any(|(_, paid)| paid.iter().any(|paid| days.contains(&paid.day)));
    if before { vec![0, 1] } else { vec![1, 0] }
}

/// The user's cells of the same keys but time.
fn same_place<'a>(
    level: &'a LevelPlan,
    all: &'a UserCells,
    key: &'a CellKey,
) -> impl Iterator<Item = (&'a CellKey, &'a Vec<Paid>)> {
    let place = |key: &CellKey| -> Vec<KeyValue> {
        let keys = level.keys.iter().zip(key);
        keys.filter(|(key, _)| !matches!(key, Key::Time(_))).map(|(_, v)| v.clone()).collect()
    };
    all.iter().filter(move |(other, _)| place(other) == place(key))
}

/// Of a user who is new in a cell: 1, and 1 for each whole period after it in which they come
/// again.
fn cohort(level: &LevelPlan, all: &UserCells, key: &CellKey) -> Vec<i128> {
    let plan = level.cohorts.as_ref().expect("the level has the statistic");
    let is_new = new_returning(level, all, key) == [1, 0];
    let time = plan.time_of(key);
    let came = |periods: usize| {
        let is_then = |other: &CellKey| plan.time_of(other) == time + periods;
        let whole = plan.days_after(time, periods).is_some();
        let came = || same_place(level, all, key).any(|(other, _)| is_then(other));
        i128::from(is_new && (periods == 0 || whole && came()))
    };
    (0..plan.width()).map(came).collect()
}

/// What the user spends in a cell against the period with which it is compared: 1 in the class that
/// says so, and nothing where one of both periods is not whole.
fn changed(level: &LevelPlan, all: &UserCells, key: &CellKey, kind: StatisticKind) -> Vec<i128> {
    let plan = &level.changes[&kind];
    let time = plan.time_of(key);
    let Some(before) = plan.before(time) else { return vec![0, 0, 0] };
    let spent = |when: usize| -> i128 {
        let then = same_place(level, all, key).filter(|(other, _)| plan.time_of(other) == when);
        then.flat_map(|(_, paid)| paid).map(|paid| i128::from(paid.amount)).sum()
    };
    let (before, now) = (spent(before), spent(time));
    let larger = before.abs().max(now.abs());
    if 20 * (now - before).abs() <= larger {
        vec![0, 1, 0]
    } else if now > before {
        vec![1, 0, 0]
    } else {
        vec![0, 0, 1]
    }
}

/// How long before the cell's last day the user was last there: 1 in the class that says so.
fn recency(level: &LevelPlan, (key, paid): (&CellKey, &[Paid])) -> Vec<i128> {
    let plan = level.recency.as_ref().expect("the level has the statistic");
    let last = paid.iter().map(|paid| paid.day).max().expect("a cell has a payment");
    let days = plan.last_day_of(key) - last;
    let class = match days {
        0..7 => 0,
        7..14 => 1,
        14..30 => 2,
        30..60 => 3,
        60..90 => 4,
        90..180 => 5,
        _ => 6,
    };
    // Longer ago than the last class begins is in the last class, too.
    (0..plan.classes()).map(|own| i128::from(own == class.min(plan.classes() - 1))).collect()
}

/// Sum of the logarithms of payments above zero against a usual one.
fn logs(paid: &[Paid], usual: i64) -> i128 {
    let payments = paid.iter().filter(|paid| paid.amount > 0);
    payments.map(|paid| i128::from(centred_log(ticket_log(paid.amount), usual))).sum()
}

/// What one user's payments in one cell count for, before the cap.
fn numbers(job: &Job, kind: StatisticKind, paid: &[Paid]) -> Vec<i128> {
    let payments = || paid.iter().map(|paid| paid.amount).filter(|&amount| amount >= 0);
    let sum = |amounts: &mut dyn Iterator<Item = i64>| vec![amounts.map(i128::from).sum()];
    let visits = || paid.iter().map(|paid| paid.day).collect::<BTreeSet<u32>>().len();
    match kind {
        StatisticKind::Customers => vec![1],
        StatisticKind::Payments => vec![payments().count() as i128],
        StatisticKind::Sales => sum(&mut paid.iter().map(|paid| paid.amount)),
        StatisticKind::Gross => sum(&mut payments()),
        StatisticKind::Refunds => {
            sum(&mut paid.iter().map(|paid| -paid.amount).filter(|&amount| amount > 0))
        }
        StatisticKind::Visits => vec![visits() as i128],
        StatisticKind::VisitClasses => match visits() {
            1 => vec![1, 0, 0, 0],
            2 => vec![0, 1, 0, 0],
            3 | 4 => vec![0, 0, 1, 0],
            _ => vec![0, 0, 0, 1],
        },
        // These need more than the cell.
        StatisticKind::NewReturning | StatisticKind::Recency | StatisticKind::Cohorts => vec![],
        StatisticKind::Diffusion | StatisticKind::DiffusionYear => vec![],
        StatisticKind::TicketLogs => vec![logs(paid, 0)],
        StatisticKind::TicketHistogram => {
            let edges = &job.payments.ticket_edges;
            let mut bins = vec![0; edges.len() + 1];
            for amount in payments() {
                bins[edges.iter().filter(|&&edge| edge <= amount).count()] += 1;
            }
            bins
        }
    }
}
