//! What a job's author expects of its payments from public knowledge, so that errors can be told
//! before anything is spent.

/// Expectations of the whole period; never taken from the payments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expect {
    /// People who pay.
    pub users: f64,
    /// Their payments, at least one each.
    pub payments: f64,
    /// Their sum, in the smallest minor unit of the job's currencies.
    pub sales: Option<f64>,
}
