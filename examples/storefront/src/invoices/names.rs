//! Each distinct value of a column held once: a year repeats a few thousand stock codes half a million times.

use std::collections::HashMap;
use std::sync::Arc;

/// An invoice number, stock code or customer, byte for byte as in the file; cheap to clone.
pub type Name = Arc<[u8]>;

/// The distinct values of one column, numbered as they first appear.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: Vec<Name>,
    ids: HashMap<Name, NameId>,
}

/// A name of one [`Names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct NameId(u32);

impl Names {
    pub(super) fn id(&mut self, name: &[u8]) -> NameId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = NameId(u32::try_from(self.names.len()).expect("ROWS_MAX is far below u32"));
        let name = Name::from(name);
        self.names.push(Name::clone(&name));
        self.ids.insert(name, id);
        id
    }

    pub(super) fn name(&self, id: NameId) -> &Name {
        self.names.get(id.0 as usize).expect("an id is of the names that gave it")
    }
}
