//! The bytes of a file, unpacked, counted and hashed as they pass.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::error::Fault;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The uncompressed bytes of a file, followed by two line breaks that are not counted or hashed.
///
/// A CSV reader takes a quote that is still open at the end for closed. It takes the line breaks into the value then,
/// and [`Source::is_unclosed`] sees that.
pub(super) struct Source {
    input: Box<dyn Read>,
    is_gzip: bool,
    sha256: Sha256,
    length: u64,
    length_max: u64,
    ending: &'static [u8],
}

impl Source {
    /// What follows the bytes of the file.
    pub(super) const ENDING: &[u8] = b"\n\n";

    pub(super) fn open(path: &Path, length_max: u64) -> Result<Self, Fault> {
        let unreadable = |error: io::Error| Fault::Unreadable(error.to_string());
        let mut file = BufReader::with_capacity(1 << 16, fs::File::open(path).map_err(unreadable)?);
        let is_gzip = file.fill_buf().map_err(unreadable)?.starts_with(&GZIP_MAGIC);
        let input: Box<dyn Read> = match is_gzip {
            true => Box::new(MultiGzDecoder::new(file)),
            false => Box::new(file),
        };
        Ok(Self { input, is_gzip, sha256: Sha256::new(), length: 0, length_max, ending: Self::ENDING })
    }

    /// Whether a record that ends at `byte` reaches into the line breaks added at the end: at most the first closes it.
    pub(super) fn is_unclosed(&self, byte: u64) -> bool {
        byte > self.length.saturating_add(1)
    }

    /// Reads what is left, and tells the sha256 of the whole in lower-case hex.
    pub(super) fn finish(mut self) -> Result<String, Fault> {
        match io::copy(&mut self, &mut io::sink()) {
            Ok(_) => Ok(hex(&self.sha256.finalize())),
            Err(error) => Err(self.fault(&error)),
        }
    }

    /// What a failed read of this source means.
    pub(super) fn fault(&self, error: &io::Error) -> Fault {
        if self.length > self.length_max {
            Fault::TooManyBytes { bytes_max: self.length_max }
        } else if !self.is_gzip {
            Fault::Unreadable(error.to_string())
        } else if error.kind() == io::ErrorKind::UnexpectedEof {
            Fault::GzipCut
        } else {
            Fault::GzipDamaged(error.to_string())
        }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        if count == 0 {
            return self.ending.read(buffer);
        }
        self.sha256.update(buffer.get(..count).unwrap_or_default());
        self.length = self.length.saturating_add(count as u64);
        if self.length > self.length_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(count)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
