//! `audit.html`: one file without anything from elsewhere; the verdict first.

use std::fmt::Write;

use super::{Evidence, Row, Verdict, pictures};

/// Checks in the order of the page: their name, a title, and what they ask, for people.
const CHECKS: [(&str, &str, &str); 9] = [
    (
        "static",
        "What is written down",
        "Do prices, thresholds, files and tables follow from the rules? Computed again by arithmetic that \
         shares nothing with the program's own.",
    ),
    (
        "lint",
        "What was asked for",
        "Is the job itself reasonable: its budget, its unit of privacy, its bounds?",
    ),
    (
        "replay",
        "One person taken out",
        "The job is run on made-up payments, then again without one person, with the same noise. What \
         differs is what that person does to the release. Some of these people try hard.",
    ),
    (
        "bounding",
        "How far one person can move a number",
        "Each made-up person alone. Every dot is one person and one statistic; none may be beyond the \
         line, for which the noise is made.",
    ),
    (
        "noise",
        "The noise itself",
        "Is it as large and as random as claimed, in every cell, and never the same twice?",
    ),
    (
        "black box",
        "Can an attacker tell?",
        "Releases with and without one person who does as much as the bounds allow. The attacker knows \
         everything but whether that person was there.",
    ),
    (
        "attacks",
        "Known attacks",
        "What attacks of the literature find on made-up people, without the release and with it.",
    ),
    (
        "side channels",
        "What shows besides",
        "Sizes, exit codes and messages, with and without one person.",
    ),
    (
        "checklist",
        "Questions for people",
        "What no program can know. Blanks are to be filled in by whoever answers for the release.",
    ),
];

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;color:#1c2330;background:#fff;max-width:60rem;\
margin:2rem auto;padding:0 1rem}h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.2rem;margin:2.2rem 0 \
.3rem}p{max-width:44rem}.verdict{padding:1rem 1.2rem;border-radius:8px;font-size:1.1rem}.good{background:#e7f4ea}\
.bad{background:#fbe9e7}table{border-collapse:collapse;width:100%;font-size:.9rem}th,td{text-align:left;\
vertical-align:top;padding:.45rem .6rem;border-bottom:1px solid #dde2ea}th{font-weight:600}td.v{white-space:nowrap}\
.refuted{color:#b3261e;font-weight:700}.not-refuted{color:#1b6e3a;font-weight:600}.not-applicable{color:#5a6475}\
small,figcaption{color:#5a6475}figure{margin:1rem 0}\
figcaption{font-size:.9rem;max-width:44rem}svg{max-width:100%;height:auto}@media(prefers-color-scheme:dark){body{background:#14181f;\
color:#e4e8ef}.good{background:#173822}.bad{background:#4a1d1a}th,td{border-color:#333b48}.refuted{color:#ff8a80}\
.not-refuted{color:#7fd39a}small,figcaption,.not-applicable{color:#a5afbf}}";

/// What all such pages begin with, and nobody else's by chance.
pub(super) fn start() -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<style>{STYLE}</style>\n"
    )
}

/// The whole page.
pub(super) fn page(evidence: &Evidence) -> String {
    let mut html = start();
    let title = escaped(&format!("Audit of {}", evidence.subject));
    add(&mut html, format_args!("<title>{title}</title></head><body>\n<h1>{title}</h1>\n"));
    add(&mut html, format_args!("{}", verdict(evidence)));
    for (check, title, question) in CHECKS {
        let rows: Vec<&Row> = evidence.rows.iter().filter(|row| row.check == check).collect();
        if rows.is_empty() {
            continue;
        }
        add(&mut html, format_args!("<h2>{}</h2>\n<p>{}</p>\n", escaped(title), escaped(question)));
        let pictures = &evidence.pictures;
        let (picture, caption) = match check {
            "bounding" => (pictures::scatter(&pictures.points), SCATTER),
            "noise" => (pictures::quantiles(&pictures.quantiles), QUANTILES),
            "black box" => (pictures::trade_off(&pictures.trade_off, evidence.claim), TRADE_OFF),
            "attacks" => (pictures::attacks(&pictures.attacks, evidence.claim), ATTACKS),
            _ => (String::new(), ""),
        };
        if !picture.is_empty() {
            let caption = escaped(caption);
            add(
                &mut html,
                format_args!("<figure>{picture}<figcaption>{caption}</figcaption></figure>\n"),
            );
        }
        html.push_str(&table(&rows));
    }
    html.push_str(LIMITS);
    html.push_str("</body></html>\n");
    html
}

const SCATTER: &str = "A dot: one made-up person and one statistic, and how far that person moves it. Left: not at \
all. The line: as far as the noise is made for. A dot beyond the line would be a fault.";
const QUANTILES: &str = "What was drawn (up) against what the claimed noise would draw (across), in sorted order. \
Noise as claimed lies on the line; too little noise is flatter, cut tails bend at the ends.";
const TRADE_OFF: &str = "Somebody who wants to find people must accept false alarms (across) to find more of them (up). \
Dashed: tossing a coin. Red: the most that the guarantee allows anybody. Blue: what was reached here, which must stay \
below the red line, and comes close to it, as this attacker knows all else and this person does as much as can be.";
const ATTACKS: &str = "The same for each attack, drawn so that few false alarms have room. Marks near the dashed line: \
the attack does no better than a guess. Marks above the red line, by more than chance makes of some thousand releases, \
would be a fault.";

const LIMITS: &str = "<h2>What this does not show</h2>\n<p>An audit looks for faults; it cannot show that \
there are none. That the guarantee holds is a proof, in <code>docs/privacy.md</code>; this is evidence that the \
program does what the proof is about. All people and payments here are made up: the audit never opens the \
records of the job, so it says nothing of how the job's files are read, or of what its expressions make of \
them. Where bounds, keys and periods come from, and who may see the records, it cannot know.</p>\n";

fn verdict(evidence: &Evidence) -> String {
    let count = |verdict| evidence.rows.iter().filter(|row| row.verdict == verdict).count();
    let (refuted, held) = (count(Verdict::Refuted), count(Verdict::NotRefuted));
    let (class, text) = match refuted {
        0 => ("good", format!("Not refuted: none of {held} checks found a fault.")),
        1 => (
            "bad",
            "Refuted: one check found a fault. Do not release before it is mended.".to_owned(),
        ),
        n => (
            "bad",
            format!("Refuted: {n} checks found faults. Do not release before they are mended."),
        ),
    };
    let claim = evidence.claim.map_or(String::new(), |claim| {
        let (epsilon, delta, most) = (claim.epsilon, claim.delta, 100.0 * claim.ceiling(0.01));
        format!(
            "<p>The claim: epsilon {epsilon} and delta {delta:e}. In words: an attacker who knows everything \
             but whether one person&rsquo;s payments are in the data, and who may be wrong once in a hundred, \
             recognises at most {most:.1}&nbsp;% of people. Guessing finds 1&nbsp;%.</p>\n"
        )
    });
    format!("<p class=\"verdict {class}\">{}</p>\n{claim}", escaped(&text))
}

fn table(rows: &[&Row]) -> String {
    let mut html = String::from(
        "<table><thead><tr><th>Claim</th><th>How it was tried</th><th>Verdict</th><th>Figures</th></tr></thead>\
         <tbody>\n",
    );
    for row in rows {
        let word = row.verdict.name();
        let confidence = match (row.verdict, row.confidence) {
            (Verdict::NotApplicable, _) => String::new(),
            (_, confidence) if confidence < 1.0 => {
                format!("<br><small>at confidence {confidence}</small>")
            }
            _ => "<br><small>exact</small>".to_owned(),
        };
        add(
            &mut html,
            format_args!(
                "<tr><td>{}<br><small>{}</small></td><td>{}</td><td class=\"v {}\">{word}{confidence}</td>\
             <td>{}</td></tr>\n",
                escaped(&row.what),
                escaped(row.reference),
                escaped(&row.method),
                word.replace(' ', "-"),
                escaped(&row.figure),
            ),
        );
    }
    html.push_str("</tbody></table>\n");
    html
}

pub(super) fn add(html: &mut String, text: std::fmt::Arguments) {
    html.write_fmt(text).expect("cannot fail because a string takes all text");
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
