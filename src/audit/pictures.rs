//! The pictures of `audit.html`, as SVG.

use super::html::{add, escaped};
use super::{Claim, Mark, Point};

/// Norm over bound, statistic by statistic, under the line of one.
pub(super) fn scatter(points: &[Point]) -> String {
    let mut names: Vec<&str> = points.iter().map(|point| &*point.what).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return String::new();
    }
    let (row, left, width) = (16.0, 270.0, 500.0);
    let height = row * names.len() as f64 + 40.0;
    let most = points.iter().map(|p| p.share).fold(1.0, f64::max);
    let x = |share: f64| left + share / most.max(1.1) * width;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {:.0} {height:.0}\" role=\"img\" aria-label=\"Norm of each user against its bound\" \
         font-size=\"11\" fill=\"currentColor\">\n",
        left + width + 30.0
    );
    for (place, name) in names.iter().enumerate() {
        let y = 24.0 + row * place as f64;
        add(
            &mut svg,
            format_args!(
                "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                left - 8.0,
                y + 4.0,
                escaped(name)
            ),
        );
        // The same place need not be drawn twice.
        let mut shares: Vec<u64> = points
            .iter()
            .filter(|point| point.what == **name)
            .map(|point| (point.share.min(9.0) * 400.0).round() as u64)
            .collect();
        shares.sort_unstable();
        shares.dedup();
        for share in shares {
            let share = share as f64 / 400.0;
            let colour = if share > 1.0 { "#b3261e" } else { "#2f6fb0" };
            add(
                &mut svg,
                format_args!(
                    "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"2.6\" fill=\"{colour}\" fill-opacity=\".45\"/>\n",
                    x(share)
                ),
            );
        }
    }
    add(
        &mut svg,
        format_args!(
            "<line x1=\"{0:.1}\" y1=\"12\" x2=\"{0:.1}\" y2=\"{1:.1}\" stroke=\"#b3261e\" stroke-width=\"1.5\"/>\n\
         <text x=\"{0:.1}\" y=\"{2:.1}\" text-anchor=\"middle\">the bound</text>\n\
         <text x=\"{3:.1}\" y=\"{2:.1}\" text-anchor=\"middle\">nothing</text>\n</svg>\n",
            x(1.0),
            height - 20.0,
            height - 6.0,
            x(0.0)
        ),
    );
    svg
}

/// The side of square pictures, and the room around them.
const SIDE: f64 = 340.0;
const ROOM: f64 = 46.0;

/// A square picture with its axes: what is drawn, and the names of both axes.
fn square(label: &str, (across, up): (&str, &str), drawn: &str) -> String {
    let (size, end) = (SIDE + 2.0 * ROOM, SIDE + ROOM);
    format!(
        "<svg viewBox=\"0 0 {size} {size}\" width=\"{size}\" role=\"img\" aria-label=\"{label}\" font-size=\"12\" \
         fill=\"currentColor\">\n<rect x=\"{ROOM}\" y=\"{ROOM}\" width=\"{SIDE}\" height=\"{SIDE}\" fill=\"none\" \
         stroke=\"#8a94a6\"/>\n{drawn}<text x=\"{0}\" y=\"{1}\" text-anchor=\"middle\">{across}</text>\n\
         <text x=\"14\" y=\"{0}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {0})\">{up}</text>\n</svg>\n",
        size / 2.0,
        end + 32.0
    )
}

fn line(points: &[(f64, f64)], place: impl Fn(f64, f64) -> (f64, f64), style: &str) -> String {
    let mut path = String::new();
    for (at, &(x, y)) in points.iter().enumerate() {
        let ((x, y), step) = (place(x, y), if at == 0 { 'M' } else { 'L' });
        add(&mut path, format_args!("{step}{x:.1} {y:.1}"));
    }
    format!("<path d=\"{path}\" fill=\"none\" {style}/>\n")
}

/// Quantiles of the noise against those of the normal law: on the diagonal, if it is as claimed.
pub(super) fn quantiles(pairs: &[(f64, f64)]) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let most = 5.0;
    let scale = |v: f64| (v + most) / (2.0 * most) * SIDE;
    let place = |x: f64, y: f64| (ROOM + scale(x), ROOM + SIDE - scale(y));
    let mut drawn = line(&[(-most, -most), (most, most)], place, "stroke=\"#b3261e\"");
    for &(x, y) in pairs.iter().filter(|(x, y)| x.abs() < most && y.abs() < most) {
        let (x, y) = place(x, y);
        add(
            &mut drawn,
            format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.4\" fill=\"#2f6fb0\"/>\n"),
        );
    }
    square(
        "Quantiles of the noise against the normal law",
        ("claimed, in standard deviations", "drawn"),
        &drawn,
    )
}

/// What an attacker reached, under what the guarantee allows.
pub(super) fn trade_off(points: &[(f64, f64)], claim: Option<Claim>) -> String {
    let Some(claim) = claim.filter(|_| !points.is_empty()) else { return String::new() };
    let place = |x: f64, y: f64| (ROOM + x * SIDE, ROOM + SIDE - y * SIDE);
    let ceiling: Vec<(f64, f64)> = (0..=400)
        .map(|n| (f64::from(n) / 400.0).powi(2))
        .map(|alarms| (alarms, claim.ceiling(alarms.clamp(1e-9, 1.0 - 1e-9))))
        .collect();
    let mut drawn =
        line(&[(0.0, 0.0), (1.0, 1.0)], place, "stroke=\"#8a94a6\" stroke-dasharray=\"3 4\"");
    drawn += &line(&ceiling, place, "stroke=\"#b3261e\" stroke-width=\"1.5\"");
    drawn += &line(points, place, "stroke=\"#2f6fb0\" stroke-width=\"2\"");
    drawn += &format!(
        "<text x=\"{0}\" y=\"{1}\" fill=\"#b3261e\">what the guarantee allows</text>\n\
         <text x=\"{0}\" y=\"{2}\" fill=\"#2f6fb0\">what the attacker reached</text>\n\
         <text x=\"{0}\" y=\"{3}\">dashed: guessing</text>\n",
        ROOM + 0.42 * SIDE,
        ROOM + SIDE - 62.0,
        ROOM + SIDE - 42.0,
        ROOM + SIDE - 22.0
    );
    square("True alarms of an attacker against false ones", ("false alarms", "true alarms"), &drawn)
}

/// The least rate of false alarms and the least share that are drawn on logarithmic axes.
const LEAST: f64 = 5e-4;

/// Single attacks under what the guarantee allows, on axes of powers of ten: there the first few
/// false alarms, which count most, have room.
pub(super) fn attacks(marks: &[Mark], claim: Option<Claim>) -> String {
    let Some(claim) = claim.filter(|_| !marks.is_empty()) else { return String::new() };
    let scale = |v: f64| (v.max(LEAST) / LEAST).ln() / (1.0 / LEAST).ln() * SIDE;
    let place = |x: f64, y: f64| (ROOM + scale(x), ROOM + SIDE - scale(y));
    let rates = (0..=100).map(|n| LEAST.powf(1.0 - f64::from(n) / 100.0));
    let ceiling: Vec<(f64, f64)> =
        rates.map(|rate| (rate, claim.ceiling(rate.min(1.0 - 1e-9)))).collect();
    let mut drawn = String::new();
    for (rate, name) in [(0.001, "0.1 %"), (0.01, "1 %"), (0.1, "10 %"), (1.0, "100 %")] {
        let ((x, _), (_, y)) = (place(rate, LEAST), place(LEAST, rate));
        let (end, under) = (ROOM + SIDE, ROOM + SIDE + 14.0);
        add(
            &mut drawn,
            format_args!(
                "<path d=\"M{x:.1} {ROOM}V{end}M{ROOM} {y:.1}H{end}\" stroke=\"#8a94a6\" stroke-opacity=\".35\"/>\n\
                 <text x=\"{x:.1}\" y=\"{under}\" font-size=\"10\" text-anchor=\"middle\">{name}</text>\n\
                 <text x=\"{0}\" y=\"{1:.1}\" font-size=\"10\" text-anchor=\"end\">{name}</text>\n",
                ROOM - 3.0,
                y + 3.0
            ),
        );
    }
    let guessing = [(LEAST, LEAST), (1.0, 1.0)];
    drawn += &line(&guessing, place, "stroke=\"#8a94a6\" stroke-dasharray=\"3 4\"");
    drawn += &line(&ceiling, place, "stroke=\"#b3261e\" stroke-width=\"1.5\"");
    let mut names: Vec<&str> = Vec::new();
    for mark in marks {
        let known = names.iter().position(|name| *name == mark.what);
        let number = known.unwrap_or_else(|| {
            names.push(mark.what);
            names.len() - 1
        });
        let (x, y) = place(mark.alarms, mark.found);
        add(&mut drawn, format_args!("{}", sign(number, x, y)));
    }
    for (number, name) in names.iter().enumerate() {
        let (x, y) = (ROOM + 0.5 * SIDE, ROOM + SIDE - 16.0 * (names.len() - number) as f64);
        add(
            &mut drawn,
            format_args!(
                "{}<text x=\"{}\" y=\"{y}\">{}</text>\n",
                sign(number, x, y - 4.0),
                x + 10.0,
                escaped(name)
            ),
        );
    }
    let (x, y) = (ROOM + 0.03 * SIDE, ROOM + 16.0);
    drawn += &format!(
        "<text x=\"{x}\" y=\"{y}\" fill=\"#b3261e\">what the guarantee allows</text>\n\
         <text x=\"{x}\" y=\"{}\">dashed: guessing</text>\n",
        y + 17.0
    );
    square("Attacks under what the guarantee allows", ("false alarms", "people found"), &drawn)
}

/// A circle, a square, a triangle, in turn: so that colours need not be told apart.
fn sign(number: usize, x: f64, y: f64) -> String {
    match number % 3 {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"#2f6fb0\"/>\n"),
        1 => format!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"7\" height=\"7\" fill=\"none\" stroke=\"#2f6fb0\" \
             stroke-width=\"1.5\"/>\n",
            x - 3.5,
            y - 3.5
        ),
        _ => format!(
            "<path d=\"M{x:.1} {:.1}l5 9h-10z\" fill=\"none\" stroke=\"#2f6fb0\" stroke-width=\"1.5\"/>\n",
            y - 5.5
        ),
    }
}
