//! Canonical bytes: length-prefixed fields in a fixed order, so that two different values never give the same bytes.

use alloc::vec::Vec;

use sha2::{Digest, Sha256};

/// Writes fields one after another; each is either of fixed width or preceded by its length.
pub(crate) struct Canon(Vec<u8>);

impl Canon {
    pub(crate) fn new() -> Self {
        Self::with_capacity(1_024)
    }

    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.int(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Seven bits a byte, lowest first (LEB128), in as few bytes as it takes: lengths and counts are mostly small.
    pub(crate) fn int(&mut self, value: u64) {
        let mut rest = value;
        while rest >= 0x80 {
            self.0.push((rest & 0x7F) as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push((rest & 0x7F) as u8);
    }

    /// The number of its bytes, then as few bytes of two's complement as it takes, highest first: most lanes are zero or small.
    pub(crate) fn wide(&mut self, value: i128) {
        let bytes = value.to_be_bytes();
        let same = if value < 0 { value.leading_ones() } else { value.leading_zeros() };
        // One bit of the sign stays, and one byte of zero.
        let redundant = (same.saturating_sub(1) / 8) as usize;
        let minimal = bytes.get(redundant.min(15)..).unwrap_or(&bytes);
        self.bytes(minimal);
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wide(value: i128) -> Vec<u8> {
        let mut canon = Canon::new();
        canon.wide(value);
        canon.0
    }

    #[test]
    fn small_numbers_are_short_and_all_are_told_apart() {
        assert_eq!(wide(0), [1, 0]);
        assert_eq!(wide(-1), [1, 0xFF]);
        assert_eq!(wide(127), [1, 0x7F]);
        assert_eq!(wide(128), [2, 0, 0x80]);
        assert_eq!(wide(-129), [2, 0xFF, 0x7F]);
        assert_eq!(wide(i128::MIN).len(), 17);
        let mut canon = Canon::new();
        canon.int(u64::MAX);
        assert_eq!(canon.0.len(), 10);
    }

    proptest! {
        #[test]
        fn a_number_can_be_read_back(value in any::<i128>(), shift in 0u32..128) {
            let value = value >> shift;
            let bytes = wide(value);
            let mut full = if value < 0 { [0xFF; 16] } else { [0; 16] };
            let start = 16usize.saturating_sub(bytes.len().saturating_sub(1));
            full[start..].copy_from_slice(&bytes[1..]);
            prop_assert_eq!(i128::from_be_bytes(full), value);
        }
    }
}
