//! What is usual of tickets: the law of their logarithms in each group of merchants.
//!
//! Counted by a survey (*Chosen bounds* in `docs/privacy.md`), so noised: anything may be computed
//! from it. Payments are then added up as logarithms against what is usual, which takes far less
//! noise than what they are alone.

use super::{CellKey, KeyValue, law};
use crate::job::{Job, Key, LOG_PARTS, Level, StatisticKind};

/// The groups of merchants of one level, and what is usual there.
#[derive(Clone, Debug)]
pub struct TicketPlan {
    /// Values of the attribute by which tickets are alike, ascending; one if all are alike. Values
    /// that are not here share the group after these.
    groups: Vec<String>,
    /// The group of each merchant of the registry; empty if all are alike.
    group_of: Vec<u32>,
    /// The key that tells a cell's group, and its place.
    key: Option<(usize, Key)>,
    /// By group; of nothing until a survey has told.
    laws: Vec<TicketLaw>,
}

/// A law of logarithms of tickets.
#[derive(Clone, Debug)]
pub struct TicketLaw {
    /// The share of tickets below each bin's start, and 1 at the end.
    below: Vec<f64>,
    /// Standard deviation of such a share, by the noise of the survey.
    doubt: f64,
}

/// About where the logarithms are, in bins: at 40 major units.
const PEAK: f64 = 33.0;

/// Noise of so many bins is in a share: those that the law is spread over.
const NOISY_BINS: f64 = 8.0;

impl TicketPlan {
    /// Bins of a survey, each a quarter of a natural logarithm wide, from one minor unit on.
    pub const BINS: usize = 64;

    /// Of a level that adds up logarithms. Where its cells lie within one group each, groups are
    /// those of the job's `ticket_groups`; else all merchants are one.
    pub(super) fn new(job: &Job, level: &Level) -> Option<TicketPlan> {
        level.bounds.get(&StatisticKind::TicketLogs)?;
        let keys = &level.keys;
        let groups = job.registry.as_ref().and_then(|registry| {
            let name = registry.ticket_groups.as_ref()?;
            let tells = |key: &Key| {
                *key == Key::Merchant || matches!(key, Key::MerchantAttribute(own) if own == name)
            };
            let at = keys.iter().position(tells)?;
            Some(((at, keys[at].clone()), &registry.attributes[name]))
        });
        let Some((key, values)) = groups else {
            let laws = vec![TicketLaw::unknown()];
            let (groups, group_of) = (vec![String::new()], Vec::new());
            return Some(TicketPlan { groups, group_of, key: None, laws });
        };
        let mut groups = values.clone();
        groups.sort();
        groups.dedup();
        let group = |value: &String| groups.binary_search(value).map_or(0, |at| at as u32);
        let group_of = values.iter().map(group).collect();
        let laws = vec![TicketLaw::unknown(); groups.len()];
        Some(TicketPlan { groups, group_of, key: Some(key), laws })
    }

    /// How many groups.
    pub fn groups(&self) -> usize {
        self.laws.len()
    }

    /// The merchants of each group, by their places in the registry; none if all are alike.
    pub(super) fn members(&self) -> Vec<Vec<u32>> {
        let mut members = vec![Vec::new(); if self.key.is_some() { self.groups() } else { 0 }];
        for (merchant, &group) in (0..).zip(&self.group_of) {
            members[group as usize].push(merchant);
        }
        members
    }

    /// Makes one group of those that are `pooled`.
    pub(super) fn pool(&mut self, pooled: &[bool]) {
        let mut next = 0..;
        let places = pooled.iter().map(|&is| if is { None } else { next.next() });
        let places: Vec<Option<u32>> = places.collect();
        let kept = std::mem::take(&mut self.groups).into_iter().zip(pooled);
        self.groups = kept.filter(|(_, pooled)| !**pooled).map(|(value, _)| value).collect();
        let rest = self.groups.len() as u32;
        let group = |&old: &u32| places[old as usize].unwrap_or(rest);
        self.group_of = self.group_of.iter().map(group).collect();
        let groups = self.groups.len() + usize::from(pooled.contains(&true));
        self.laws = vec![TicketLaw::unknown(); groups];
    }

    /// The group of each merchant of the registry; `None` if all are alike.
    pub fn merchant_groups(&self) -> Option<&[u32]> {
        self.key.is_some().then_some(&self.group_of)
    }

    /// The group of a merchant, by its place in the registry.
    pub fn group_of(&self, merchant: u32) -> usize {
        self.group_of.get(merchant as usize).map_or(0, |&group| group as usize)
    }

    /// The group of a cell.
    pub fn group_of_cell(&self, job: &Job, cell: &CellKey) -> usize {
        let (Some((at, key)), Some(registry)) = (&self.key, &job.registry) else { return 0 };
        let KeyValue::Text(text) = &cell[*at] else { return 0 };
        let text: &str = text;
        match key {
            Key::Merchant => {
                let place = registry.ids.binary_search_by(|id| id.as_str().cmp(text));
                place.map_or(0, |merchant| self.group_of(merchant as u32))
            }
            _ => {
                let place = self.groups.binary_search_by(|group| group.as_str().cmp(text));
                place.unwrap_or(self.groups.len()).min(self.groups() - 1)
            }
        }
    }

    /// The law of a group.
    pub fn law(&self, group: usize) -> &TicketLaw {
        &self.laws[group]
    }

    /// The usual logarithm of a ticket of a group: its median.
    pub fn usual(&self, group: usize) -> i64 {
        self.laws[group].quantile(0.5).round() as i64
    }

    /// The bin of a logarithm.
    pub fn bin(log: i64) -> usize {
        const WIDTH: i64 = LOG_PARTS / 4;
        ((log / WIDTH).max(0) as usize).min(Self::BINS - 1)
    }

    /// Learns the laws from a survey's noised counts, group after group, whose noise has the
    /// standard deviation `sd`: each is drawn towards that of all, the more the fewer tickets it
    /// has.
    pub(super) fn learn(&mut self, counts: &[f64], sd: f64) {
        let mut all = vec![0.0; Self::BINS];
        for group in counts.chunks_exact(Self::BINS) {
            all.iter_mut().zip(group).for_each(|(all, count)| *all += count);
        }
        let all_sd = sd * (self.groups() as f64).sqrt();
        let Some(whole) = TicketLaw::of(&all, all_sd) else { return };
        let noise = Self::BINS as f64 * sd * sd;
        let law = |group: &[f64]| {
            let size = group.iter().sum::<f64>().max(sd);
            let prior = 4.0 * noise / size;
            let drawn =
                group.iter().zip(whole.shares()).map(|(count, share)| count + prior * share);
            TicketLaw::of(&drawn.collect::<Vec<f64>>(), sd).unwrap_or_else(|| whole.clone())
        };
        self.laws = counts.chunks_exact(Self::BINS).map(law).collect();
    }

    /// Learns the laws from counts without noise.
    #[cfg(test)]
    pub(crate) fn learn_exact(&mut self, counts: &[f64]) {
        self.learn(counts, 1e-9);
    }

    /// Root mean square of tickets' logarithms against what is usual, in [`LOG_PARTS`]: of the
    /// groups together.
    pub(super) fn spread(&self) -> f64 {
        let squares = self.laws.iter().map(|law| law.moments(law.quantile(0.5)).1);
        (squares.sum::<f64>() / self.laws.len() as f64).sqrt()
    }
}

impl TicketLaw {
    /// When nothing is known: everything between about 1 and 3000 major units is as likely.
    fn unknown() -> TicketLaw {
        let share = |bin: usize| ((bin as f64 - 18.0) / 32.0).clamp(0.0, 1.0);
        TicketLaw { below: (0..=TicketPlan::BINS).map(share).collect(), doubt: 1.0 }
    }

    /// From noised counts with noise of `sd` each; `None` if they are nothing but noise. What looks
    /// like noise is left out (*Chosen bounds* in `docs/privacy.md`), as it would be the law's
    /// tails.
    fn of(counts: &[f64], sd: f64) -> Option<TicketLaw> {
        if counts.iter().sum::<f64>() <= 0.0 {
            return None;
        }
        let counts = law::smoothed(counts, sd, PEAK);
        let whole: f64 = counts.iter().sum();
        let mut below = vec![0.0];
        let mut sum = 0.0;
        for count in counts {
            sum += count;
            below.push(sum / whole);
        }
        (whole > 0.0).then(|| TicketLaw { below, doubt: NOISY_BINS.sqrt() * sd / whole })
    }

    /// Standard deviation of [`TicketLaw::quantile`]: that of the share over how dense the law is
    /// there.
    pub fn doubt(&self, share: f64) -> f64 {
        let near = |share: f64| self.quantile(share.clamp(0.0, 1.0));
        let step = self.doubt.max(0.02);
        (near(share + step) - near(share - step)) / (2.0 * step) * self.doubt
    }

    fn shares(&self) -> impl Iterator<Item = f64> {
        self.below.windows(2).map(|pair| pair[1] - pair[0])
    }

    /// The logarithm, in [`LOG_PARTS`], that a share of tickets do not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        let width = (LOG_PARTS / 4) as f64;
        let bin = self.below.partition_point(|&below| below < share).max(1) - 1;
        let (low, high) = (self.below[bin], self.below[(bin + 1).min(TicketPlan::BINS)]);
        let within = if high > low { (share - low) / (high - low) } else { 0.5 };
        (bin as f64 + within.clamp(0.0, 1.0)) * width
    }

    /// Mean and mean square of the logarithms against `usual`, cut as payments are.
    pub fn moments(&self, usual: f64) -> (f64, f64) {
        let width = (LOG_PARTS / 4) as f64;
        let most = LOG_PARTS as f64 * 2.5;
        let (mut mean, mut square) = (0.0, 0.0);
        for (bin, share) in self.shares().enumerate() {
            let log = ((bin as f64 + 0.5) * width - usual).clamp(-most, most);
            mean += share * log;
            square += share * log * log;
        }
        (mean, square)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{centred_log, ticket_log};

    fn law(counts: &[(usize, f64)], sd: f64) -> TicketLaw {
        let mut bins = vec![0.0; TicketPlan::BINS];
        counts.iter().for_each(|&(bin, count)| bins[bin] += count);
        TicketLaw::of(&bins, sd).expect("tickets")
    }

    #[test]
    fn quantiles_are_where_the_shares_are() {
        let known = law(&[(20, 100.0), (21, 200.0), (22, 100.0)], 1e-9);
        let natural = |share: f64| known.quantile(share) / 1024.0;
        assert!((natural(0.5) - 21.5).abs() < 1e-9);
        assert!((natural(0.25) - 21.0).abs() < 1e-9);
        assert!((natural(0.875) - 22.5).abs() < 1e-9);
        let (mean, square) = known.moments(known.quantile(0.5));
        assert!(mean.abs() < 1e-6 && (square - 0.5 * 1024.0f64.powi(2)).abs() < 1e-3);
    }

    #[test]
    fn noise_is_not_taken_for_tails() {
        let counts = [(3, -30.0), (7, 25.0), (19, 700.0), (20, 1000.0), (21, 700.0), (50, 90.0)];
        let noisy = law(&counts, 30.0);
        assert!(noisy.below.is_sorted() && noisy.below[0] >= 0.0);
        assert!((noisy.below[TicketPlan::BINS] - 1.0).abs() < 1e-9);
        assert!((noisy.quantile(0.5) / 1024.0 - 20.5).abs() < 0.1);
        assert!(noisy.quantile(0.01) / 1024.0 > 17.0 && noisy.quantile(0.99) / 1024.0 < 24.0);
        assert!(noisy.doubt(0.5) < noisy.doubt(0.9) && noisy.doubt(0.9) < 1024.0);
        assert!(TicketLaw::of(&[-5.0; TicketPlan::BINS], 5.0).is_none());
    }

    #[test]
    fn groups_with_few_tickets_are_drawn_to_all() {
        let mut counts = vec![0.0; 2 * TicketPlan::BINS];
        counts[20] = 10_000.0;
        counts[TicketPlan::BINS + 30] = 50.0;
        let mut plan = TicketPlan {
            groups: vec!["a".to_owned(), "b".to_owned()],
            group_of: Vec::new(),
            key: None,
            laws: Vec::new(),
        };
        plan.learn(&counts, 0.01);
        assert_eq!((plan.usual(0) / 1024, plan.usual(1) / 1024), (20, 30));
        plan.learn(&counts, 40.0);
        assert_eq!((plan.usual(0) / 1024, plan.usual(1) / 1024), (20, 20));
    }

    #[test]
    fn logarithms_are_whole_numbers_and_cut() {
        assert_eq!(
            (ticket_log(1), ticket_log(10_000), ticket_log(1_000_000_000_000)),
            (0, 37_726, 113_177)
        );
        assert_eq!(TicketPlan::bin(ticket_log(10_000)), 36);
        assert_eq!(TicketPlan::bin(ticket_log(1_000_000_000_000)), 63);
        assert_eq!(centred_log(37_726, 30_000), 7_726);
        assert_eq!((centred_log(0, 30_000), centred_log(60_000, 30_000)), (-10_240, 10_240));
    }
}
