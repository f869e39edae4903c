//! The questions of NIST SP 800-226, with the answers that the program knows, and blanks for those
//! that it cannot know.

use super::row::Row;
use crate::plan::Plan;

const NIST: &str = "NIST SP 800-226";
const BLANK: &str = "to be filled in: ____________________";

/// The questions, each with its answer.
pub(super) fn rows(plan: &Plan) -> Vec<Row> {
    let row = |(what, answer): (&str, String)| Row::open("checklist", what, &answer, NIST);
    let (first, then) = (mathematics(plan), people());
    first.into_iter().chain(then).map(row).collect()
}

/// What the guarantee is, and what it rests on.
fn mathematics(plan: &Plan) -> Vec<(&'static str, String)> {
    let job = &plan.job;
    let unit = job.privacy.unit.label(job.payments.zone);
    let mechanisms = plan.mechanisms().count();
    let private = job.reports.iter().filter(|r| !r.selection.is_public());
    let parameters = format!(
        "epsilon {}, delta {}, mu {:.4}, of {} and {} for all jobs of the ledger",
        job.privacy.epsilon,
        job.privacy.delta,
        plan.loss.mu_squared.mu_up().value(),
        job.ledger.epsilon_max,
        job.ledger.delta_max
    );
    vec![
        ("Which guarantee is given, and with which parameters?", parameters),
        (
            "What is the unit of privacy, and what are neighbours?",
            format!("{unit}, by `{}`; all payments of one are added or removed", job.user()),
        ),
        ("Why is this epsilon right for this use?", BLANK.to_owned()),
        (
            "Is one person one unit? How many tokens can a person have?",
            "a token is a user; how many a person has: ____________________".to_owned(),
        ),
        (
            "Which mechanisms are used, and who has reviewed them?",
            format!(
                "{mechanisms} discrete Gaussians; proof in docs/privacy.md; reviewed by: ________"
            ),
        ),
        (
            "How are contributions bounded?",
            format!("by norm, user by user; {} bounds found with noise", plan.surveys.len()),
        ),
        (
            "Are groups that appear chosen with noise?",
            format!(
                "{} reports have keys of the payments, shown from a noised threshold on",
                private.count()
            ),
        ),
        (
            "How do several releases add up?",
            format!(
                "ledger of population {}, which refuses what is beyond its limits",
                job.ledger.population
            ),
        ),
    ]
}

/// What the program cannot know, or only in part.
fn people() -> Vec<(&'static str, String)> {
    vec![
        ("Do other releases about these people exist outside of the ledger?", BLANK.to_owned()),
        (
            "What is released without noise?",
            "nothing; that a job stopped, and how long it took, is for the operator".to_owned(),
        ),
        (
            "Can floats or the generator give the noise away?",
            "sums and noise are whole numbers; ChaCha20 from the operating system's key".to_owned(),
        ),
        (
            "Can time or resources give values away?",
            "not protected on a machine that is shared with an adversary".to_owned(),
        ),
        ("What is the trust model?", "central: whoever runs the job sees the payments".to_owned()),
        ("Who may see the payments, the quarantine and the ledger?", BLANK.to_owned()),
        ("How long are payments kept, and is all that is collected needed?", BLANK.to_owned()),
        (
            "Is the release accurate enough for its use, for small groups too?",
            "each value has an interval and a grade; judged by: ____________________".to_owned(),
        ),
        (
            "Do bounds and noise wrong some group?",
            "heavy users and small cells lose most; effects on people: ____________________"
                .to_owned(),
        ),
        ("Where do stated bounds, keys and periods come from?", BLANK.to_owned()),
    ]
}
