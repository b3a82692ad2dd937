//! Canonical bytes: length-prefixed fields in a fixed order, so that two different values never give the same bytes.

use alloc::vec::Vec;

use sha2::{Digest, Sha256};

/// Writes fields one after another; each is either of fixed width or preceded by its length.
pub(crate) struct Canon(Vec<u8>);

impl Canon {
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(512))
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.int(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn int(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn wide(&mut self, value: i128) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}
