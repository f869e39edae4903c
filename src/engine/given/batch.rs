//! Rows of totals as clusters and databases send them.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use polars::prelude::{Int64Chunked, StringChunked};

use super::{Answer, Table};
use crate::engine::{ExactSurveys, ExactTotals};
use crate::error::{Error, Result};
use crate::findings;
use crate::plan::Plan;

impl Answer<'_> {
    /// The totals that a server has sent.
    pub(in crate::engine) fn totals_of(
        &self,
        plan: &Plan,
        batches: &[RecordBatch],
    ) -> Result<(Plan, ExactTotals)> {
        self.totals(plan, &self.tables(batches)?)
    }

    /// The same of what the plan asks first.
    pub(in crate::engine) fn asked_of(
        &self,
        plan: &Plan,
        batches: &[RecordBatch],
    ) -> Result<ExactSurveys> {
        self.asked(plan, &self.tables(batches)?)
    }

    /// Checks what a look at the table has told.
    pub(in crate::engine) fn check_look(&self, plan: &Plan, batches: &[RecordBatch]) -> Result<()> {
        let told = |name: &str| {
            let columns = batches.iter().filter_map(|batch| batch.column_by_name(name));
            let columns: Vec<Int64Chunked> = columns.filter_map(|column| numbers(column)).collect();
            columns.iter().flat_map(|numbers| numbers.iter().flatten()).find(|&bits| bits != 0)
        };
        if told("dr_encoding").is_some() {
            let table = plan.job.payments.table.as_ref();
            let table = table.expect("cannot fail because it was looked at");
            let finding = findings::encoding_unfit(&table.shown());
            return Err(Error::invalid(finding.at(table.span.clone())));
        }
        match told("dr_types") {
            Some(bits) => Err(Error::invalid_all(self.other_types(plan, bits))),
            None => Ok(()),
        }
    }

    /// Rows of this very query.
    fn tables(&self, batches: &[RecordBatch]) -> Result<Vec<Table>> {
        let tables =
            batches.iter().map(Table::of_batch).collect::<std::result::Result<Vec<_>, _>>();
        let tables = tables.map_err(|why| self.unfit(why))?;
        let own = |origin: Option<&str>| origin == Some(&self.query.plan);
        let (keys, totals) = self.query.width;
        let fits = |table: &Table| {
            let wide = table.keys.len() == keys && table.totals.len() == totals;
            wide && table.plan.iter().all(own)
        };
        match tables.iter().all(fits) {
            true => Ok(tables),
            false => Err(self.unfit("its rows are not of the query that was sent")),
        }
    }
}

impl Table {
    fn of_batch(batch: &RecordBatch) -> std::result::Result<Table, &'static str> {
        if !batch.columns().iter().all(is_sound) {
            return Err("a text is not UTF-8");
        }
        let text = |name: &str| texts(batch.column_by_name(name)?);
        let number = |name: &str| numbers(batch.column_by_name(name)?);
        Table::of_columns(batch.num_columns(), text, number)
    }
}

/// Are its texts UTF-8, if it has any? Drivers give their bytes as they are.
fn is_sound(column: &ArrayRef) -> bool {
    let is_text =
        matches!(column.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    !is_text || column.to_data().validate_full().is_ok()
}

fn texts(column: &dyn Array) -> Option<StringChunked> {
    Some(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().iter().collect(),
        DataType::LargeUtf8 => column.as_string::<i64>().iter().collect(),
        DataType::Utf8View => column.as_string_view().iter().collect(),
        // Empty in every row.
        DataType::Null => (0..column.len()).map(|_| None::<&str>).collect(),
        _ => return None,
    })
}

/// Whole numbers of 64 bits; Snowflake has them as decimals.
fn numbers(column: &dyn Array) -> Option<Int64Chunked> {
    match column.data_type() {
        DataType::Int64 => Some(column.as_primitive::<Int64Type>().iter().collect()),
        DataType::Decimal128(_, 0) => {
            let narrow = |wide: Option<i128>| wide.map(i64::try_from).transpose().ok();
            let numbers = column.as_primitive::<Decimal128Type>().iter().map(narrow);
            numbers
                .collect::<Option<Vec<Option<i64>>>>()
                .map(|numbers| numbers.into_iter().collect())
        }
        DataType::Null => Some((0..column.len()).map(|_| None::<i64>).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Decimal128Array, Float64Array, Int32Array, Int64Array, LargeStringArray, NullArray,
        StringArray, StringViewArray,
    };

    use super::*;

    #[test]
    fn texts_and_whole_numbers_come_in_several_types() {
        let wanted = [Some("a"), None, Some("ü")];
        let columns: [ArrayRef; 3] = [
            Arc::new(StringArray::from(wanted.to_vec())),
            Arc::new(LargeStringArray::from(wanted.to_vec())),
            Arc::new(StringViewArray::from(wanted.to_vec())),
        ];
        for column in columns {
            assert!(is_sound(&column));
            let found = texts(&column).expect("texts");
            assert_eq!(found.iter().collect::<Vec<_>>(), wanted);
        }
        let wanted = [Some(i64::MAX), None, Some(-1)];
        let wide = wanted.map(|number| number.map(i128::from));
        let decimals = |numbers: &[Option<i128>], scale| {
            let decimals = Decimal128Array::from(numbers.to_vec());
            decimals.with_precision_and_scale(38, scale).expect("fits")
        };
        let columns: [ArrayRef; 2] =
            [Arc::new(Int64Array::from(wanted.to_vec())), Arc::new(decimals(&wide, 0))];
        for column in columns {
            let found = numbers(&column).expect("numbers");
            assert_eq!(found.iter().collect::<Vec<_>>(), wanted);
        }
        let nulls: ArrayRef = Arc::new(NullArray::new(3));
        assert_eq!(numbers(&nulls).expect("numbers").null_count(), 3);
        assert_eq!(texts(&nulls).expect("texts").null_count(), 3);
        let others: [ArrayRef; 4] = [
            Arc::new(decimals(&[Some(1i128 << 64)], 0)),
            Arc::new(decimals(&[Some(1)], 2)),
            Arc::new(Float64Array::from(vec![1.0])),
            Arc::new(Int32Array::from(vec![1])),
        ];
        for column in others {
            assert!(numbers(&column).is_none() && texts(&column).is_none(), "{column:?}");
        }
    }
}
