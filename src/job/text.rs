//! Text files (CSV): where records end, and what their fields are.
//!
//! Each record is read by itself. One whose quotes are not as they should be ends with its line, so
//! that it swallows no others, and says so in a column of its own ([`LINE`]).

use std::collections::BTreeMap;

use polars::prelude::{
    DataFrame, IntoColumn, PlSmallStr, PolarsResult, StringChunkedBuilder, UInt8Chunked,
};

use super::{CsvDialect, PaymentsSource, SqlExpression};

/// The column that tells what is wrong with a record, if anything is; no column of a file is called
/// that.
pub(crate) const LINE: &str = "\0line";

/// A text in quotes ends within so many bytes, or its quotes are wrong.
const QUOTED_MAX: usize = 1 << 20;

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineFault {
    /// A quote is neither closed nor doubled.
    Quotes = 1,
    /// It has more fields than the first line.
    Long = 2,
    /// A field that is used is not UTF-8.
    NotText = 3,
}

impl LineFault {
    /// What a value of the column [`LINE`] means.
    pub(crate) fn of(code: u8) -> Option<LineFault> {
        [LineFault::Quotes, LineFault::Long, LineFault::NotText]
            .into_iter()
            .find(|fault| *fault as u8 == code)
    }
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Where it ends, after its line's end.
    end: usize,
    /// Are its quotes as they should be?
    is_sound: bool,
}

impl Record {
    /// Where it ends, after its line's end.
    pub(crate) fn end(self) -> usize {
        self.end
    }
}

/// Which fields are columns.
#[derive(Debug)]
pub(crate) struct Layout {
    /// How many fields the header has; `None`: there is none, and records may have any number.
    pub(crate) width: Option<usize>,
    /// Name and place of those that are wanted.
    pub(crate) wanted: Vec<(PlSmallStr, usize)>,
}

impl PaymentsSource {
    /// Of text without a header, the columns that the job names: `column_1` and so on, with their
    /// places from 0.
    pub(crate) fn numbered_columns(&self) -> BTreeMap<String, usize> {
        let Self { user, time, amount, .. } = self;
        let others = [&self.merchant, &self.currency, &self.filter].into_iter().flatten();
        let keys = self.columns.iter().map(|(_, expression)| expression);
        let all = [user, time, amount].into_iter().chain(others).chain(keys);
        let place = |name: String| {
            let number: usize = name.strip_prefix("column_")?.parse().ok()?;
            let place = number.checked_sub(1)?;
            (name == format!("column_{number}")).then_some((name, place))
        };
        all.flat_map(SqlExpression::columns).filter_map(place).collect()
    }
}

/// What stands between fields and around them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    separator: u8,
    quote: Option<u8>,
}

/// The end of what starts with a quote.
enum Quoted {
    /// After so many bytes.
    Closed(usize),
    /// It has none.
    Wrong,
    /// Further bytes would tell.
    Open,
}

impl Marks {
    pub(crate) fn of(csv: &CsvDialect) -> Marks {
        Marks { separator: csv.separator, quote: csv.quote }
    }

    /// The records at the start of `bytes`, each whole; a last one may go on in what follows,
    /// unless these are the last bytes.
    pub(crate) fn records(self, bytes: &[u8], is_last: bool) -> Vec<Record> {
        let mut records = Vec::new();
        let mut start = 0;
        while start < bytes.len() {
            let Some(record) = self.record(&bytes[start..], is_last) else { break };
            start += record.end;
            records.push(Record { end: start, ..record });
        }
        records
    }

    fn record(self, bytes: &[u8], is_last: bool) -> Option<Record> {
        let mark = self.quote.unwrap_or(b'\n');
        let mut from = 0;
        loop {
            let Some(found) = bytes[from..].iter().position(|&b| b == b'\n' || b == mark) else {
                return is_last.then_some(Record { end: bytes.len(), is_sound: true });
            };
            let found = from + found;
            if bytes[found] == b'\n' {
                return Some(Record { end: found + 1, is_sound: true });
            }
            // A quote within a field is text.
            if found > 0 && bytes[found - 1] != self.separator {
                from = found + 1;
                continue;
            }
            match self.quoted(&bytes[found..], mark, is_last) {
                Quoted::Closed(length) => from = found + length,
                Quoted::Open => return None,
                Quoted::Wrong => {
                    let line = bytes.iter().position(|&b| b == b'\n').map(|at| at + 1);
                    let end = line.or(is_last.then_some(bytes.len()))?;
                    return Some(Record { end, is_sound: false });
                }
            }
        }
    }

    /// `bytes` start with a quote.
    fn quoted(self, bytes: &[u8], quote: u8, is_last: bool) -> Quoted {
        let window = &bytes[..bytes.len().min(QUOTED_MAX)];
        let mut from = 1;
        loop {
            let Some(found) = window.get(from..).and_then(|b| b.iter().position(|&b| b == quote))
            else {
                let is_all = is_last || window.len() == QUOTED_MAX;
                return if is_all { Quoted::Wrong } else { Quoted::Open };
            };
            let after = from + found + 1;
            let closed = Quoted::Closed(after);
            return match bytes.get(after) {
                Some(&next) if next == quote => {
                    from = after + 1;
                    continue;
                }
                Some(&next) if next == self.separator || next == b'\n' => closed,
                Some(b'\r') => match bytes.get(after + 1) {
                    Some(b'\n') => closed,
                    None if is_last => closed,
                    None => Quoted::Open,
                    Some(_) => Quoted::Wrong,
                },
                Some(_) => Quoted::Wrong,
                None if is_last => closed,
                None => Quoted::Open,
            };
        }
    }

    /// Has a line nothing in it, as those have that editors leave at the end of a file?
    fn is_blank(self, line: &[u8]) -> bool {
        let marks = [Some(self.separator), self.quote];
        line.iter().all(|byte| b" \t".contains(byte) && !marks.contains(&Some(*byte)))
    }

    /// The wanted fields of the records that `bytes` consist of, as texts, and the column [`LINE`].
    /// What is empty, or missing at the end of a record, is null. Blank lines are no records.
    pub(crate) fn table(
        self,
        bytes: &[u8],
        records: &[Record],
        layout: &Layout,
    ) -> PolarsResult<DataFrame> {
        let builder = |(name, _): &(PlSmallStr, usize)| {
            StringChunkedBuilder::new(name.clone(), records.len())
        };
        let mut columns: Vec<StringChunkedBuilder> = layout.wanted.iter().map(builder).collect();
        let mut faults = Vec::with_capacity(records.len());
        let mut order: Vec<usize> = (0..columns.len()).collect();
        order.sort_by_key(|&column| layout.wanted[column].1);
        let mut scratch = Vec::new();
        let mut start = 0;
        for record in records {
            let bytes = line(&bytes[start..record.end]);
            start = record.end;
            if self.is_blank(bytes) {
                continue;
            }
            let mut fault = (!record.is_sound).then_some(LineFault::Quotes);
            let mut wanted = order.iter().copied().peekable();
            let mut fields = 0;
            let mut left = Some(bytes);
            while let Some(rest) = left {
                let (field, is_quoted, after) = self.field(rest, record.is_sound);
                left = after;
                while let Some(column) = wanted.next_if(|&column| layout.wanted[column].1 == fields)
                {
                    let text =
                        std::str::from_utf8(unquoted(field, is_quoted, self.quote, &mut scratch));
                    match text {
                        Ok("") if !is_quoted => columns[column].append_null(),
                        Ok(text) => columns[column].append_value(text),
                        Err(_) => {
                            fault = fault.or(Some(LineFault::NotText));
                            columns[column].append_null();
                        }
                    }
                }
                fields += 1;
            }
            wanted.for_each(|column| columns[column].append_null());
            if layout.width.is_some_and(|width| fields > width) && record.is_sound {
                fault = Some(LineFault::Long);
            }
            faults.push(fault.map(|fault| fault as u8));
        }
        let rows = faults.len();
        let faults: UInt8Chunked = faults.into_iter().collect();
        let mut columns: Vec<_> =
            columns.into_iter().map(|column| column.finish().into_column()).collect();
        columns.push(faults.into_column().with_name(LINE.into()));
        DataFrame::new(rows, columns)
    }

    /// The first field, whether it is in quotes, which then are no part of it, and what follows.
    fn field(self, bytes: &[u8], is_sound: bool) -> (&[u8], bool, Option<&[u8]>) {
        let quote = self.quote.filter(|quote| is_sound && bytes.first() == Some(quote));
        if let Some(quote) = quote
            && let Quoted::Closed(end) = self.quoted(bytes, quote, true)
        {
            return (&bytes[1..end - 1], true, bytes.get(end + 1..));
        }
        match bytes.iter().position(|&b| b == self.separator) {
            Some(at) => (&bytes[..at], false, Some(&bytes[at + 1..])),
            None => (bytes, false, None),
        }
    }
}

/// Takes the first record away, and blank lines before it; is it there?
pub(crate) fn without_header(bytes: &mut Vec<u8>, records: &mut Vec<Record>) -> bool {
    let mut start = 0;
    let mut is_blank = |record: &Record| {
        let is_blank = line(&bytes[start..record.end]).is_empty();
        start = record.end;
        is_blank
    };
    let blank = records.iter().take_while(|record| is_blank(record)).count();
    let is_there = blank < records.len();
    let gone = blank + usize::from(is_there);
    let end = records[..gone].last().map_or(0, |record| record.end);
    bytes.drain(..end);
    records.drain(..gone);
    records.iter_mut().for_each(|record| record.end -= end);
    is_there
}

/// A line without its end.
fn line(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

/// Doubled quotes are one.
fn unquoted<'a>(
    field: &'a [u8],
    is_quoted: bool,
    quote: Option<u8>,
    scratch: &'a mut Vec<u8>,
) -> &'a [u8] {
    match quote {
        Some(quote) if is_quoted && field.contains(&quote) => {
            scratch.clear();
            let mut before = false;
            for &byte in field {
                before = byte == quote && !before;
                if !before {
                    scratch.push(byte);
                }
            }
            scratch
        }
        _ => field,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks = Marks { separator: b',', quote: Some(b'"') };

    /// Each record as its columns with bars between, null as a dash, and its fault.
    fn read(text: &[u8], width: usize) -> Vec<String> {
        let wanted = (0..width).map(|at| (format!("c{at}").into(), at)).collect();
        let records = MARKS.records(text, true);
        assert_eq!(records.last().map_or(0, |record| record.end), text.len());
        let table = MARKS.table(text, &records, &Layout { width: Some(width), wanted });
        let table = table.expect("a table");
        let row = |row: usize| {
            let fields = (0..width).map(|at| {
                let column = table.column(&format!("c{at}")).expect("a column").str();
                column.expect("text").get(row).unwrap_or("-").to_owned()
            });
            let fault = table.column(LINE).expect("a column").u8().expect("codes").get(row);
            let fields: Vec<String> = fields.collect();
            match fault.and_then(LineFault::of) {
                Some(fault) => format!("{} {fault:?}", fields.join("|")),
                None => fields.join("|"),
            }
        };
        (0..table.height()).map(row).collect()
    }

    #[test]
    fn records_are_read_by_themselves() {
        for (text, rows) in [
            ("a,b,c\r\nd,e,f", &["a|b|c", "d|e|f"][..]),
            ("a\n,,c\n\"\",\"b\nb\",\"c,\"\"c\"\"\"\n", &["a|-|-", "-|-|c", "|b\nb|c,\"c\""]),
            ("\nä,b,c\n \t\r\n\n  ", &["ä|b|c"]),
            (",,\n , ,\n\"\"\n", &["-|-|-", " | |-", "|-|-"]),
            // One field more, also if it is empty.
            ("a,b,c,d\na,b,c,\na,\"b,b\",c\n", &["a|b|c Long", "a|b|c Long", "a|b,b|c"]),
            // Inches are text.
            ("a,5\" pipe,c\na,5\" x 7\",c\n", &["a|5\" pipe|c", "a|5\" x 7\"|c"]),
            // What is never closed ends with its line.
            ("a,\"oops,c\nd,e,f\n", &["a|\"oops|c Quotes", "d|e|f"]),
            ("a,\"oops,c\nd,\"e\",f\n", &["a|\"oops|c Quotes", "d|e|f"]),
            ("a,\"oops,c\nd,\"\",f\n", &["a|\"oops|c Quotes", "d||f"]),
            // With backslashes before quotes.
            (
                "a,\"5\\\" pipe\",c\nd,e,f\ng,\"5\\\" pipe\",i\n",
                &["a|\"5\\\" pipe\"|c Quotes", "d|e|f", "g|\"5\\\" pipe\"|i Quotes"],
            ),
            ("a,\"b\" ,c\nd,e,\"f\"", &["a|\"b\" |c Quotes", "d|e|f"]),
            // A line's end that stood in quotes is one, where others of the record are wrong.
            ("a,\"b\nb\",\"c\" c\nd,e,f\n", &["a|\"b|- Quotes", "b\"|\"c\" c|- Quotes", "d|e|f"]),
        ] {
            assert_eq!(read(text.as_bytes(), 3), rows, "{text:?}");
        }
        assert_eq!(read(b"a,\xff,c\na,b,c\n", 3), ["a|-|c NotText", "a|b|c"]);
    }

    /// Separators are fields, if empty ones.
    #[test]
    fn lines_of_separators_are_not_blank() {
        for (separator, rows) in [(b',', 1), (b'\t', 2), (b' ', 2)] {
            let marks = Marks { separator, quote: Some(b'"') };
            let text = b"\t\t\n\n  \na\n";
            let layout = Layout { width: Some(3), wanted: vec![("c".into(), 0)] };
            let table = marks.table(text, &marks.records(text, true), &layout).expect("a table");
            assert_eq!(table.height(), rows, "{separator}");
        }
    }

    #[test]
    fn records_do_not_depend_on_where_blocks_end() {
        let text = b"a,\"b\"\"\r\nb\",c\r\n\"x\"y,b,c\n\"\",b,\"c\"\r\n\"open,b,c\nd,e,\"f\"";
        let whole = MARKS.records(text, true);
        assert_eq!(whole.len(), 5);
        for at in 0..text.len() {
            let first = MARKS.records(&text[..at], false);
            let read = first.last().map_or(0, |record| record.end);
            let shifted = |record: Record| Record { end: record.end + read, ..record };
            let rest = MARKS.records(&text[read..], true).into_iter().map(shifted);
            assert_eq!(first.into_iter().chain(rest).collect::<Vec<_>>(), whole, "{at}");
        }
    }

    #[test]
    fn texts_in_quotes_have_an_end() {
        let long = |length: usize| format!("\"{}\",b\nc,d\n", "x\n".repeat(length / 2));
        for (length, rows) in [(QUOTED_MAX - 2, 2), (QUOTED_MAX, QUOTED_MAX / 2 + 2)] {
            let text = long(length);
            assert_eq!(MARKS.records(text.as_bytes(), true).len(), rows);
            let cut = &text.as_bytes()[..text.len() - 8];
            assert_eq!(MARKS.records(cut, false).is_empty(), length < QUOTED_MAX);
        }
    }
}
