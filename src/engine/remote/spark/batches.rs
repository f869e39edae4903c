//! The rows of a result, as they come in.

use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use spark_connect_proto::execute_plan_response::ArrowBatch;

/// Rows so far. Each batch says where it starts, how many rows it has and of how many chunks it is,
/// so that none can be missing, come twice or be cut.
#[derive(Default)]
pub(super) struct Batches {
    batches: Vec<RecordBatch>,
    rows: i64,
    /// A batch of which chunks are missing.
    open: Option<Open>,
}

struct Open {
    bytes: Vec<u8>,
    chunks: i64,
    of: i64,
    rows: i64,
}

/// Why rows cannot be used.
pub(super) type Unfit = &'static str;

impl Batches {
    pub(super) fn add(&mut self, batch: &ArrowBatch) -> Result<(), Unfit> {
        let of = batch.num_chunks_in_batch.filter(|&of| of != 0).unwrap_or(1);
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                if batch.start_offset.is_some_and(|start| start != self.rows) {
                    return Err("rows are missing, or came twice");
                }
                Open { bytes: Vec::new(), chunks: 0, of, rows: batch.row_count }
            }
        };
        let start = batch.start_offset.is_none_or(|start| start == self.rows);
        let next = batch.chunk_index.unwrap_or(0) == open.chunks;
        if !start || !next || of != open.of || batch.row_count != open.rows || open.rows < 0 {
            return Err("the chunks of a batch do not follow each other");
        }
        open.bytes.extend_from_slice(&batch.data);
        open.chunks += 1;
        if open.chunks < open.of {
            self.open = Some(open);
            return Ok(());
        }
        self.decode(&open)
    }

    fn decode(&mut self, whole: &Open) -> Result<(), Unfit> {
        let unreadable = |cause: arrow::error::ArrowError| {
            // What the reader says may quote values.
            tracing::debug!("{cause}");
            "a batch is not Arrow, or cut off"
        };
        let reader = StreamReader::try_new(Cursor::new(&whole.bytes), None).map_err(unreadable)?;
        let mut rows = 0;
        for batch in reader {
            let batch = batch.map_err(unreadable)?;
            let alike = |first: &RecordBatch| first.schema() == batch.schema();
            if !self.batches.first().is_none_or(alike) {
                return Err("batches have other columns than the first");
            }
            rows += i64::try_from(batch.num_rows()).map_err(|_| "a batch is too large")?;
            self.batches.push(batch);
        }
        if rows != whole.rows {
            return Err("a batch has other rows than it says");
        }
        self.rows += rows;
        Ok(())
    }

    /// All rows, when the server has said that these are all.
    pub(super) fn finish(self) -> Result<Vec<RecordBatch>, Unfit> {
        if self.open.is_some() { Err("the last batch is cut off") } else { Ok(self.batches) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use arrow_ipc::writer::StreamWriter;

    use super::*;

    fn numbers(values: &[i64]) -> Vec<u8> {
        let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        let batch = RecordBatch::try_from_iter([("n", column)]).expect("a batch");
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("writes");
        writer.write(&batch).expect("writes");
        writer.into_inner().expect("ends")
    }

    fn whole(start: i64, rows: i64, bytes: &[u8]) -> ArrowBatch {
        ArrowBatch {
            row_count: rows,
            data: bytes.to_vec().into(),
            start_offset: Some(start),
            ..Default::default()
        }
    }

    fn chunk(start: i64, rows: i64, at: i64, of: i64, bytes: &[u8]) -> ArrowBatch {
        ArrowBatch {
            chunk_index: Some(at),
            num_chunks_in_batch: Some(of),
            ..whole(start, rows, bytes)
        }
    }

    /// The rows of the batches, or why they are refused.
    fn rows(batches: &[ArrowBatch]) -> Result<usize, Unfit> {
        let mut all = Batches::default();
        batches.iter().try_for_each(|batch| all.add(batch))?;
        Ok(all.finish()?.iter().map(RecordBatch::num_rows).sum())
    }

    #[test]
    fn batches_and_chunks_come_together() {
        let (a, b) = (numbers(&[1, 2]), numbers(&[3, 4, 5]));
        assert_eq!(rows(&[]), Ok(0));
        assert_eq!(rows(&[whole(0, 2, &a), whole(2, 3, &b)]), Ok(5));
        let (left, right) = b.split_at(b.len() / 3);
        let parts = [whole(0, 2, &a), chunk(2, 3, 0, 2, left), chunk(2, 3, 1, 2, right)];
        assert_eq!(rows(&parts), Ok(5));
    }

    #[test]
    fn rows_that_are_missing_or_come_twice_are_refused() {
        let (a, b) = (numbers(&[1, 2]), numbers(&[3, 4, 5]));
        let missing = "rows are missing, or came twice";
        assert_eq!(rows(&[whole(2, 3, &b)]), Err(missing));
        assert_eq!(rows(&[whole(0, 2, &a), whole(0, 2, &a)]), Err(missing));
        assert_eq!(rows(&[whole(0, 2, &a), whole(3, 3, &b)]), Err(missing));
        let counts = "a batch has other rows than it says";
        assert_eq!(rows(&[whole(0, 3, &a)]), Err(counts));
        assert_eq!(rows(&[whole(0, 1, &a)]), Err(counts));
    }

    #[test]
    fn chunks_in_another_order_and_cut_batches_are_refused() {
        let bytes = numbers(&[1, 2, 3]);
        let (left, right) = bytes.split_at(bytes.len() / 2);
        let order = "the chunks of a batch do not follow each other";
        assert_eq!(rows(&[chunk(0, 3, 1, 2, right)]), Err(order));
        let (first, second) = (chunk(0, 3, 0, 2, left), chunk(0, 3, 1, 2, right));
        assert_eq!(rows(&[first.clone(), first.clone()]), Err(order));
        assert_eq!(rows(std::slice::from_ref(&first)), Err("the last batch is cut off"));
        assert_eq!(rows(&[first.clone(), chunk(0, 3, 1, 3, right)]), Err(order));
        assert_eq!(rows(&[first, second]), Ok(3));
        for end in 0..bytes.len() {
            // The end mark of the format is not of the rows.
            let cut = rows(&[whole(0, 3, &bytes[..end])]);
            assert!(cut == Ok(3) && end + 8 >= bytes.len() || cut.is_err(), "{end}: {cut:?}");
        }
    }

    #[test]
    fn other_columns_are_refused() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let batch = RecordBatch::try_from_iter([("m", column)]).expect("a batch");
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("writes");
        writer.write(&batch).expect("writes");
        let other = writer.into_inner().expect("ends");
        let batches = [whole(0, 1, &numbers(&[1])), whole(1, 1, &other)];
        assert_eq!(rows(&batches), Err("batches have other columns than the first"));
    }
}
