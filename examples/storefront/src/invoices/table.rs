//! The records of a CSV file: a header with every column, and rows exactly as wide.

use csv::{ByteRecord, Reader, ReaderBuilder};

use super::columns::Columns;
use super::error::{Fault, Shown};
use super::source::Source;

/// The CSV reader, and the header it began with.
pub(super) struct Table {
    reader: Reader<Source>,
    columns: Columns,
}

impl Table {
    pub(super) fn open(source: Source) -> Result<Self, Fault> {
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            // A row of another width is refused here, with its row number.
            .flexible(true)
            .buffer_capacity(1 << 16)
            .from_reader(source);
        let mut header = ByteRecord::new();
        let found = advance(&mut reader, &mut header)?;
        if found && reader.get_ref().is_unclosed(reader.position().byte()) {
            return Err(Fault::HeaderUnclosed(Shown::of(unclosed(&header))));
        }
        Ok(Self { reader, columns: Columns::of(header)? })
    }

    pub(super) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Reads what is left without parsing it, and tells the sha256 of the whole.
    pub(super) fn finish(self) -> Result<String, Fault> {
        self.reader.into_inner().finish()
    }

    /// Reads the next row, which is as wide as the header; `false` at the end of the file.
    pub(super) fn next(&mut self, row: u64, record: &mut ByteRecord) -> Result<bool, Fault> {
        if !advance(&mut self.reader, record)? {
            return Ok(false);
        }
        let (fields, width) = (record.len(), self.columns.width());
        if fields > width {
            let value = Shown::of(record.get(width).unwrap_or_default());
            return Err(Fault::RowTooLong { row, value, fields, width });
        }
        if self.reader.get_ref().is_unclosed(self.reader.position().byte()) {
            let column = self.columns.name(fields.saturating_sub(1));
            return Err(Fault::RowUnclosed { row, column, value: Shown::of(unclosed(record)) });
        }
        if fields < width {
            let column = self.columns.name(fields);
            return Err(match advance(&mut self.reader, record)? {
                true => Fault::RowTooShort { row, column, fields, width },
                false => Fault::RowCut { row, column, fields, width },
            });
        }
        Ok(true)
    }
}

fn advance(reader: &mut Reader<Source>, record: &mut ByteRecord) -> Result<bool, Fault> {
    reader.read_byte_record(record).map_err(|error| match error.into_kind() {
        csv::ErrorKind::Io(error) => reader.get_ref().fault(&error),
        // Widths and UTF-8 are not checked by this reader, so that nothing else is left to fail.
        other => Fault::Unreadable(format!("{other:?}")),
    })
}

/// The value that is still open at the end, without the line breaks the source has added.
fn unclosed(record: &ByteRecord) -> &[u8] {
    let value = record.iter().next_back().unwrap_or_default();
    value.strip_suffix(Source::ENDING).unwrap_or(value)
}
