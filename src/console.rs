//! The only module that prints.

use std::env::var_os;
use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal, Write};
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::caught;
use crate::error::{Error, Result};
use crate::findings::{self, Finding};
use crate::job::secret_lines;
use crate::parallel::lock;
use crate::payments::Progress as Step;

/// Steps and durations on standard error, if asked for.
pub fn start_log(verbose: bool) {
    let level = if verbose { tracing::Level::DEBUG } else { tracing::Level::ERROR };
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .with_target(false)
        // Else it complains on every terminal of a feature that is not there.
        .with_ansi(false);
    if verbose {
        log.init();
    }
    // What polars says of its own future is no matter of a job, and may quote it.
    polars::error::set_warning_function(|text, kind| tracing::debug!("{kind:?}: {text}"));
    // The message of a panic in a library may quote a record, so only its place is shown.
    let whole = verbose.then(std::panic::take_hook);
    std::panic::set_hook(Box::new(move |panic| {
        if caught::is_expected() {
            tracing::debug!("{panic}");
            return;
        }
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let bug = Error::environment(findings::bug_found(&place));
        *lock(&BUG) = place;
        match &whole {
            Some(show) => show(panic),
            None => error(&bug, None, ""),
        }
    }));
}

/// Where the last panic was.
static BUG: Mutex<String> = Mutex::new(String::new());

/// Ends what a bug has stopped, of which standard error tells already: as JSON too, if asked.
pub fn bug(json: bool) -> ExitCode {
    let bug = Error::environment(findings::bug_found(&lock(&BUG)));
    if json {
        error_json(&bug, "");
    }
    ExitCode::from(bug.class().exit_code())
}

/// The help or the version, or what is wrong with the arguments.
pub fn usage(shown: &clap::Error) -> ExitCode {
    let code = ExitCode::from(u8::try_from(shown.exit_code()).unwrap_or(2));
    match written(shown.print(), None) {
        Err(lost) if !shown.use_stderr() => {
            error(&lost, None, "");
            ExitCode::from(lost.class().exit_code())
        }
        _ => code,
    }
}

/// A result, on standard output.
///
/// # Errors
/// Environment: it cannot be written. A closed pipe is the reader's wish.
pub fn result(text: &str) -> Result<()> {
    written(print(text), None)
}

/// The same of a command that has `done` something, which stands if this cannot be written.
///
/// # Errors
/// As [`result`].
pub fn result_of(done: &str, text: &str) -> Result<()> {
    written(print(text), Some(done))
}

fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

fn written(outcome: std::io::Result<()>, done: Option<&str>) -> Result<()> {
    match outcome {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Error::environment(findings::output_not_writable(&e, done)))
        }
        _ => Ok(()),
    }
}

/// A remark, on standard error; what a spinner shows there gives way.
pub fn note(text: &str) {
    let mut out = std::io::stderr().lock();
    let clears = out.is_terminal() && !is_dumb(|name| var_os(name));
    let way = if clears { "\r\x1b[2K" } else { "" };
    let _ = writeln!(out, "{way}{text}");
}

/// An error, on standard error; findings with a place are shown under their line of `source`.
pub fn error(error: &Error, path: Option<&Path>, source: &str) {
    let styled = std::io::stderr().is_terminal() && takes_colours(|name| var_os(name));
    note(&render(error.findings(), path, source, styled));
}

/// May a terminal be sent colours? Not where the user's environment says so (no-color.org).
fn takes_colours(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    variable("NO_COLOR").is_none_or(|value| value.is_empty()) && !is_dumb(variable)
}

/// A terminal that knows nothing but letters.
fn is_dumb(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    variable("TERM").is_some_and(|terminal| terminal == "dumb")
}

/// All findings as text.
pub fn render(findings: &[Finding], path: Option<&Path>, source: &str, styled: bool) -> String {
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let shown = path.map(|path| path.display().to_string()).unwrap_or_default();
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| finding.span().map(|span| span.start));
    let secrets = findings.iter().filter(|f| f.is_secret() && has_place(f, source));
    let mut secrets: Vec<Range<usize>> =
        secrets.filter_map(|f| Some(line_of(source, f.span()?))).collect();
    secrets.extend(secret_lines(source));
    let texts: Vec<String> = sorted
        .into_iter()
        .map(|finding| {
            let text = renderer.render(&[group(finding, &shown, source, &secrets)]);
            // Without a line to stand under, the hint is a line of its own.
            match finding.next_step().filter(|_| !has_place(finding, source)) {
                Some(hint) => {
                    let title = Level::HELP.with_name("hint").primary_title(hint);
                    format!("{text}\n{}", renderer.render(&[Group::with_title(title)]))
                }
                None => text,
            }
        })
        .collect();
    texts.join("\n\n")
}

fn has_place(finding: &Finding, source: &str) -> bool {
    finding.span().is_some() && !source.is_empty()
}

/// The bytes of the lines of a place, with the ends of lines.
fn line_of(source: &str, span: Range<usize>) -> Range<usize> {
    let start = source[..span.start].rfind('\n').map_or(0, |n| n + 1);
    let end = source[span.end..].find('\n').map_or(source.len(), |n| span.end + n + 1);
    start..end
}

/// A finding with its line, unless that may hold a secret: then with the line's number.
fn group<'a>(
    finding: &'a Finding,
    path: &'a str,
    source: &'a str,
    secrets: &[Range<usize>],
) -> Group<'a> {
    let title = Level::ERROR.primary_title(finding.message()).id(finding.code());
    let mut group = Group::with_title(title);
    if !has_place(finding, source) {
        return group;
    }
    if let Some(span) = finding.span() {
        // Only the first line of what spans several.
        let end = source[span.start..].find('\n').map_or(source.len(), |n| span.start + n);
        let span = span.start..span.end.min(end).max(span.start);
        // The end of the file is shown with its last line.
        let at = span.start.min(source.len() - 1);
        group = if secrets.iter().any(|lines| lines.contains(&at)) {
            let (line, column) = line_and_column(source, span.start);
            group.element(Origin::path(path).line(line).char_column(column))
        } else {
            let snippet = Snippet::source(source).path(path);
            group.element(snippet.annotation(AnnotationKind::Primary.span(span)))
        };
    }
    match finding.next_step() {
        Some(hint) => group.element(Level::HELP.with_name("hint").message(hint)),
        None => group,
    }
}

/// Where a byte is, both counted from 1.
fn line_and_column(source: &str, offset: usize) -> (usize, usize) {
    let before = &source[..offset];
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    (before.matches('\n').count() + 1, column)
}

/// An error as JSON, on standard output.
pub fn error_json(error: &Error, source: &str) {
    let place = |offset: usize| {
        let (line, column) = line_and_column(source, offset.min(source.len()));
        serde_json::json!({ "line": line, "column": column })
    };
    let findings: Vec<serde_json::Value> = error
        .findings()
        .iter()
        .map(|finding| {
            serde_json::json!({
                "code": finding.code(),
                "message": finding.message(),
                "hint": finding.next_step(),
                "place": finding.span().map(|span| place(span.start)),
            })
        })
        .collect();
    let class = format!("{:?}", error.class()).to_lowercase();
    // Standard error says the same, and the exit code tells of it.
    let _ = result(&serde_json::json!({ "status": class, "findings": findings }).to_string());
}

/// A progress bar or spinner on a terminal; nothing else where.
pub struct Progress(ProgressBar);

impl Progress {
    /// A spinner with a text.
    pub fn spinner(text: String) -> Progress {
        let bar = ProgressBar::new_spinner();
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.set_message(text);
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress(bar)
    }

    /// A bar with a text, of `length` steps that may be shown.
    pub fn bar(text: String, length: u64) -> Progress {
        let bar = ProgressBar::new(length);
        bar.set_draw_target(ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{msg} {wide_bar} {percent} % {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(text);
        Progress(bar)
    }

    /// Another text beside a spinner.
    pub fn say(&self, text: String) {
        self.0.set_message(text);
    }

    /// Sets the position of a bar.
    pub fn set(&self, position: u64) {
        self.0.set_position(position);
    }

    /// The course of a run: bytes read, then partitions fitted.
    pub fn run(text: String) -> Progress {
        let progress = Progress::spinner(text);
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
        progress.0.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        progress
    }

    /// Shows how far a run is.
    pub fn show(&self, step: Step) {
        self.0.set_message(match step {
            Step::Read { bytes, of, .. } => {
                format!("reading: {} of {}", HumanBytes(bytes), HumanBytes(of))
            }
            Step::Fitted { partitions, of } => format!("fitting: partition {partitions} of {of}"),
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
