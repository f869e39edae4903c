//! What can be told from sums of overlapping sets: the linear algebra of merchant protection.
//!
//! Whoever knows sums over some sets of merchants knows every linear combination of them. A
//! combination that is left with few merchants tells about these. Merchants that lie in the same
//! sets form an *atom*; a combination has one coefficient for each.

use std::collections::BTreeMap;

/// Coefficients are counted modulo this prime, 2⁶¹ − 1. A combination with whole coefficients stays
/// one, as the prime divides no coefficient that occurs.
const PRIME: u64 = (1 << 61) - 1;

/// Coefficients by atom, or by set; those of zero are not there.
type Sparse = BTreeMap<u32, u64>;

/// Sums over sets of merchants.
pub(super) struct Sums {
    /// Merchants of each atom.
    sizes: Vec<u32>,
    /// The merchants of each atom, ascending.
    members: Vec<Vec<u32>>,
    /// The atoms of each set.
    sets: Vec<Vec<u32>>,
}

impl Sums {
    /// Of `sets` of merchants 0..`merchants`.
    pub(super) fn new(sets: &[Vec<u32>], merchants: usize) -> Sums {
        let mut lies_in: Vec<Vec<u32>> = vec![Vec::new(); merchants];
        for (place, set) in (0..).zip(sets) {
            set.iter().for_each(|&merchant| lies_in[merchant as usize].push(place));
        }
        let mut atoms: BTreeMap<&[u32], Vec<u32>> = BTreeMap::new();
        for (merchant, sets) in (0..).zip(&lies_in).filter(|(_, sets)| !sets.is_empty()) {
            atoms.entry(sets).or_default().push(merchant);
        }
        let mut of_set = vec![Vec::new(); sets.len()];
        for (atom, lies_in) in (0..).zip(atoms.keys()) {
            lies_in.iter().for_each(|&set| of_set[set as usize].push(atom));
        }
        let members: Vec<Vec<u32>> = atoms.into_values().collect();
        let sizes = members.iter().map(|members| members.len() as u32).collect();
        Sums { sizes, members, sets: of_set }
    }

    /// How many atoms there are.
    pub(super) fn atom_count(&self) -> u32 {
        self.sizes.len() as u32
    }

    /// The atoms of a set.
    pub(super) fn atoms(&self, set: usize) -> &[u32] {
        &self.sets[set]
    }

    /// The merchants of some atoms.
    pub(super) fn members(&self, atoms: &[u32]) -> Vec<u32> {
        atoms.iter().flat_map(|&atom| &self.members[atom as usize]).copied().collect()
    }

    /// Merchants of a set.
    pub(super) fn size(&self, set: usize) -> u32 {
        self.sets[set].iter().map(|&atom| self.sizes[atom as usize]).sum()
    }

    /// Are there so few small atoms that [`Sums::breach`] can look at all choices of them?
    pub(super) fn can_be_searched(&self, known: &[bool], most: u32) -> bool {
        let single = self.single(known);
        let small = (0..)
            .zip(&self.sizes)
            .filter(|(atom, size)| **size <= most && !single.contains_key(atom));
        (small.count() as f64).powi(most.saturating_sub(1) as i32) < 1e7
    }

    /// Atoms that are a known set each, with that set.
    fn single(&self, known: &[bool]) -> BTreeMap<u32, usize> {
        let single = self.known(known).filter(|&set| self.sets[set].len() == 1);
        single.map(|set| (self.sets[set][0], set)).collect()
    }

    /// The sets of a combination of those that are `known` which is left with 1 to `most`
    /// merchants; `None` if there is no such combination.
    pub(super) fn breach(&self, known: &[bool], most: u32) -> Option<Vec<usize>> {
        let columns = self.columns(known, most as usize);
        let small = (0..).zip(columns).map(|(atom, column)| Atom {
            atoms: vec![atom],
            size: self.sizes[atom as usize],
            column,
        });
        let atoms = dependent(&small.filter(|a| a.size <= most).collect::<Vec<_>>(), most)?;
        Some(self.combination(known, &atoms))
    }

    /// Tells of atoms whether a combination of known sets is their sum; see [`Sums::columns`] for
    /// the chance that it seems so and is not.
    pub(super) fn told(&self, known: &[bool]) -> impl Fn(&[u32]) -> bool {
        let columns = self.columns(known, 1);
        move |atoms| atoms.iter().fold(0, |sum, &atom| add(sum, columns[atom as usize][0])) == 0
    }

    /// The known sets of a combination that is the sum of these atoms; `None` if there is none.
    pub(super) fn made_of(&self, known: &[bool], atoms: &[u32]) -> Option<Vec<usize>> {
        let mut pivots: Vec<(u32, Sparse)> = Vec::new();
        let mut of_atom: BTreeMap<u32, usize> = BTreeMap::new();
        let mut made_of: Vec<Sparse> = Vec::new();
        let single = self.single(known);
        // What is known for itself is taken out.
        let split = |atoms: &[u32], own: &mut Sparse| -> Sparse {
            let mut row = Sparse::new();
            for &atom in atoms {
                match single.get(&atom) {
                    Some(&set) => drop(own.insert(set as u32, PRIME - 1)),
                    None => drop(row.insert(atom, 1)),
                }
            }
            row
        };
        for set in self.known(known).filter(|&set| self.sets[set].len() > 1) {
            let mut own = Sparse::from([(set as u32, 1)]);
            let mut row = split(&self.sets[set], &mut own);
            reduce(&mut row, &pivots, &of_atom, |(pivot, by)| {
                subtract(&mut own, &made_of[pivot], by)
            });
            if let Some((&atom, &coefficient)) = row.first_key_value() {
                scale(&mut row, inverse(coefficient));
                scale(&mut own, inverse(coefficient));
                of_atom.insert(atom, pivots.len());
                pivots.push((atom, row));
                made_of.push(own);
            }
        }
        let mut own = Sparse::new();
        let mut row = split(atoms, &mut own);
        reduce(&mut row, &pivots, &of_atom, |(pivot, by)| subtract(&mut own, &made_of[pivot], by));
        row.is_empty().then(|| own.into_keys().map(|set| set as usize).collect())
    }

    /// For each atom `count` random numbers, such that they sum to nothing over each known set:
    /// those of some atoms are linearly dependent exactly if a combination of sets has no others
    /// left, but with a probability of less than 2⁻⁵⁸ for each choice of atoms.
    fn columns(&self, known: &[bool], count: usize) -> Vec<Vec<u64>> {
        let mut pivots: Vec<(u32, Sparse)> = Vec::new();
        let mut of_atom: BTreeMap<u32, usize> = BTreeMap::new();
        // What is known for itself is of no weight in other sets.
        let single = self.single(known);
        for set in self.known(known) {
            let rest = self.sets[set].iter().filter(|atom| !single.contains_key(atom));
            let mut row: Sparse = rest.map(|&atom| (atom, 1)).collect();
            reduce(&mut row, &pivots, &of_atom, |_| {});
            if let Some((&atom, &coefficient)) = row.first_key_value() {
                scale(&mut row, inverse(coefficient));
                of_atom.insert(atom, pivots.len());
                pivots.push((atom, row));
            }
        }
        let mut random = Random(0x6469_7363_7265_7461);
        let mut draw = || -> Vec<u64> { (0..count).map(|_| random.next()).collect() };
        let mut columns: Vec<Vec<u64>> = self.sizes.iter().map(|_| draw()).collect();
        single.keys().for_each(|&atom| columns[atom as usize] = vec![0; count]);
        // The last row has no other row's pivot.
        for (atom, row) in pivots.iter().rev() {
            let mut sum = vec![0; count];
            for (other, &coefficient) in row.iter().filter(|(other, _)| *other != atom) {
                for (sum, &x) in sum.iter_mut().zip(&columns[*other as usize]) {
                    *sum = add(*sum, times(coefficient, x));
                }
            }
            columns[*atom as usize] = sum.into_iter().map(negative).collect();
        }
        columns
    }

    fn known<'s>(&'s self, known: &'s [bool]) -> impl Iterator<Item = usize> + 's {
        (0..self.sets.len()).filter(|&set| known[set])
    }

    /// The sets of a combination of known ones that is left with some of these atoms and no others.
    fn combination(&self, known: &[bool], atoms: &[u32]) -> Vec<usize> {
        let mut pivots: Vec<(u32, Sparse)> = Vec::new();
        let mut of_atom: BTreeMap<u32, usize> = BTreeMap::new();
        // Of each row, what it is made of.
        let mut made_of: Vec<Sparse> = Vec::new();
        let single = self.single(known);
        for set in self.known(known) {
            let mut row = Sparse::new();
            let mut own = Sparse::from([(set as u32, 1)]);
            for &atom in self.sets[set].iter().filter(|atom| !atoms.contains(atom)) {
                match single.get(&atom) {
                    Some(&other) if other != set => drop(own.insert(other as u32, PRIME - 1)),
                    Some(_) => {}
                    None => drop(row.insert(atom, 1)),
                }
            }
            if single.iter().any(|(atom, &other)| other == set && !atoms.contains(atom)) {
                continue;
            }
            reduce(&mut row, &pivots, &of_atom, |(pivot, by)| {
                subtract(&mut own, &made_of[pivot], by)
            });
            if let Some((&atom, &coefficient)) = row.first_key_value() {
                scale(&mut row, inverse(coefficient));
                scale(&mut own, inverse(coefficient));
                of_atom.insert(atom, pivots.len());
                pivots.push((atom, row));
                made_of.push(own);
            } else if atoms.iter().any(|&atom| self.coefficient(&own, atom) != 0) {
                return own.into_keys().map(|set| set as usize).collect();
            }
        }
        Vec::new()
    }

    fn coefficient(&self, combination: &Sparse, atom: u32) -> u64 {
        let holds = |set: &u32| self.sets[*set as usize].contains(&atom);
        let of_sets = combination.iter().filter(|(set, _)| holds(set));
        of_sets.fold(0, |sum, (_, &coefficient)| add(sum, coefficient))
    }
}

/// Atoms, and what is left of the last one's column when those of the others are taken out.
#[derive(Clone)]
struct Atom {
    atoms: Vec<u32>,
    size: u32,
    column: Vec<u64>,
}

/// Atoms of at most `most` merchants in all whose columns are linearly dependent.
fn dependent(atoms: &[Atom], most: u32) -> Option<Vec<u32>> {
    if let Some(one) = atoms.iter().find(|atom| atom.column.iter().all(|&x| x == 0)) {
        return Some(one.atoms.clone());
    }
    // Pairs, by direction; the smallest of each first.
    let mut directions: BTreeMap<Vec<u64>, &Atom> = BTreeMap::new();
    let mut by_size: Vec<&Atom> = atoms.iter().collect();
    by_size.sort_by_key(|atom| atom.size);
    for atom in &by_size {
        let first = atom.column.iter().find(|x| **x != 0).copied().unwrap_or(1);
        let direction = atom.column.iter().map(|&x| times(x, inverse(first))).collect();
        match directions.get(&direction) {
            Some(other) if other.size + atom.size <= most => {
                return Some([&other.atoms[..], &atom.atoms].concat());
            }
            Some(_) => {}
            None => drop(directions.insert(direction, atom)),
        }
    }
    // Three and more: each with those after it, of which at least two must fit beside it.
    for (place, one) in by_size.iter().enumerate() {
        let fits = |other: &&&Atom| one.size + other.size <= most;
        let rest: Vec<Atom> = by_size[place + 1..]
            .iter()
            .filter(fits)
            .map(|other| Atom { column: without(&other.column, &one.column), ..(*other).clone() })
            .collect();
        let smallest = rest.first().map_or(u32::MAX, |atom| atom.size);
        if most.saturating_sub(one.size) < smallest.saturating_mul(2) {
            break;
        }
        if let Some(found) = dependent(&rest, most - one.size) {
            return Some([&one.atoms[..], &found].concat());
        }
    }
    None
}

/// A column, made zero where the other one is first not.
fn without(column: &[u64], other: &[u64]) -> Vec<u64> {
    let Some(at) = other.iter().position(|&x| x != 0) else { return column.to_vec() };
    let by = negative(times(column[at], inverse(other[at])));
    column.iter().zip(other).map(|(&x, &y)| add(x, times(by, y))).collect()
}

/// Takes earlier rows out of a row until it has none of their pivots; tells which, and how often.
fn reduce(
    row: &mut Sparse,
    pivots: &[(u32, Sparse)],
    of_atom: &BTreeMap<u32, usize>,
    mut tell: impl FnMut((usize, u64)),
) {
    let next = |row: &Sparse| {
        row.iter().find_map(|(atom, &by)| of_atom.get(atom).map(|&pivot| (pivot, by)))
    };
    while let Some((pivot, by)) = next(row) {
        subtract(row, &pivots[pivot].1, by);
        tell((pivot, by));
    }
}

fn subtract(row: &mut Sparse, other: &Sparse, by: u64) {
    for (&atom, &coefficient) in other {
        let entry = row.entry(atom).or_default();
        *entry = add(*entry, negative(times(by, coefficient)));
        if *entry == 0 {
            row.remove(&atom);
        }
    }
}

fn scale(row: &mut Sparse, by: u64) {
    row.values_mut().for_each(|coefficient| *coefficient = times(*coefficient, by));
}

fn add(a: u64, b: u64) -> u64 {
    (a + b) % PRIME
}

fn negative(a: u64) -> u64 {
    (PRIME - a) % PRIME
}

fn times(a: u64, b: u64) -> u64 {
    // Below 2⁶¹ again.
    (u128::from(a) * u128::from(b) % u128::from(PRIME)) as u64
}

/// By Fermat: a^(p−2).
fn inverse(a: u64) -> u64 {
    let (mut result, mut square, mut power) = (1, a, PRIME - 2);
    while power > 0 {
        if power & 1 == 1 {
            result = times(result, square);
        }
        square = times(square, square);
        power >>= 1;
    }
    result
}

/// SplitMix64 (Steele, Lea and Flood 2014), below the prime: the same numbers in each run, as
/// nothing here is secret.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % PRIME
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Is a combination of the rows left with some of these merchants alone? By fractions, exactly:
    /// the rank of all columns against that of the others.
    fn told(rows: &[Vec<u32>], merchants: u32, few: &[u32]) -> bool {
        let all: Vec<u32> = (0..merchants).collect();
        let others: Vec<u32> = all.iter().copied().filter(|m| !few.contains(m)).collect();
        rank(rows, &all) > rank(rows, &others)
    }

    /// By Bareiss' elimination, whose divisions are exact.
    fn rank(rows: &[Vec<u32>], columns: &[u32]) -> usize {
        let entry = |row: &Vec<u32>, column: &u32| i128::from(row.contains(column));
        let mut matrix: Vec<Vec<i128>> =
            rows.iter().map(|row| columns.iter().map(|c| entry(row, c)).collect()).collect();
        let (mut rank, mut before) = (0, 1);
        for column in 0..columns.len() {
            let Some(pivot) = (rank..matrix.len()).find(|&row| matrix[row][column] != 0) else {
                continue;
            };
            matrix.swap(rank, pivot);
            let top = matrix[rank].clone();
            for row in &mut matrix[rank + 1..] {
                let own = row[column];
                row.iter_mut()
                    .zip(&top)
                    .for_each(|(x, t)| *x = (*x * top[column] - own * t) / before);
            }
            before = top[column];
            rank += 1;
        }
        rank
    }

    fn subsets(merchants: u32, most: u32) -> Vec<Vec<u32>> {
        let all = (1u32..1 << merchants).filter(|set| set.count_ones() <= most);
        all.map(|set| (0..merchants).filter(|m| set >> m & 1 == 1).collect()).collect()
    }

    #[test]
    fn what_is_left_of_a_sum_is_a_breach() {
        // A region of seven merchants, two categories of it, and what is left: two.
        let sets: Vec<Vec<u32>> = vec![vec![0, 1, 2, 3, 4, 5, 6], vec![0, 1, 2], vec![3, 4]];
        let sums = Sums::new(&sets, 7);
        assert_eq!(sums.breach(&[true; 3], 1), None);
        assert!(sums.breach(&[true, true, true], 2).is_some());
        assert_eq!(sums.breach(&[true, true, false], 3), Some(vec![1]));
        assert_eq!(sums.breach(&[true, true, false], 2), None);
        let sets: Vec<Vec<u32>> = vec![vec![0, 1, 2, 3, 4, 5, 6], vec![0, 1, 2], vec![3, 4, 5]];
        assert_eq!(Sums::new(&sets, 7).breach(&[true; 3], 1), Some(vec![0, 1, 2]));
    }

    #[test]
    fn margins_of_a_cross_table_tell_nothing_of_its_cells() {
        // Merchants at the corners of a square: two rows and two columns.
        let sets: Vec<Vec<u32>> = vec![vec![0, 1], vec![2, 3], vec![0, 2], vec![1, 3]];
        let sums = Sums::new(&sets, 4);
        assert_eq!(sums.breach(&[true; 4], 1), None);
        // The difference of a row and a column: one merchant against another.
        assert_eq!(sums.breach(&[true; 4], 2).map(|sets| sets.len()), Some(1));
        let known = [true, false, true, false];
        assert!(Sums::new(&sets, 4).breach(&known, 2).is_some());
    }

    proptest! {
        #[test]
        fn breaches_are_those_of_exact_fractions(
            sets in prop::collection::vec(prop::collection::btree_set(0u32..8, 1..8), 1..7),
            most in 1u32..5,
        ) {
            let sets: Vec<Vec<u32>> = sets.into_iter().map(|s| s.into_iter().collect()).collect();
            let sums = Sums::new(&sets, 8);
            let told = subsets(8, most).iter().any(|few| told(&sets, 8, few));
            let breach = sums.breach(&vec![true; sets.len()], most);
            prop_assert_eq!(breach.is_some(), told);
            // What is told of merchants that lie in the same sets, and by which sets.
            let known = vec![true; sets.len()];
            let is_told = sums.told(&known);
            for chosen in 1u32..1 << sums.atom_count() {
                let atoms: Vec<u32> =
                    (0..sums.atom_count()).filter(|atom| chosen >> atom & 1 == 1).collect();
                let all: Vec<u32> = (0..8).collect();
                let whole = [&sets[..], &[sums.members(&atoms)]].concat();
                let follows = rank(&whole, &all) == rank(&sets, &all);
                prop_assert_eq!(is_told(&atoms), follows);
                let made_of = sums.made_of(&known, &atoms);
                prop_assert_eq!(made_of.is_some(), follows);
                if let Some(named) = made_of {
                    let named: Vec<Vec<u32>> = named.iter().map(|&set| sets[set].clone()).collect();
                    let whole = [&named[..], &[sums.members(&atoms)]].concat();
                    prop_assert_eq!(rank(&whole, &all), rank(&named, &all));
                }
            }
            // The sets that are named suffice for it.
            if let Some(named) = breach {
                let named: Vec<Vec<u32>> = named.iter().map(|&set| sets[set].clone()).collect();
                prop_assert!(subsets(8, most).iter().any(|few| self::told(&named, 8, few)));
            }
        }
    }
}
