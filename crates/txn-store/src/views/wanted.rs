//! What a list of views asks of one database: checked, each thing once, with the digest that says whether it is current.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{Definition, Part, View};
use crate::error::{Error, ErrorKind};

/// What every name of a function or an index begins with.
pub(crate) const PREFIX: &str = "view_";

/// Bytes of a name, at most.
const NAME_MAX: usize = 31;

/// What a list asks of one database: each thing once, by name, with the digest that says whether it is current.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) functions: BTreeMap<&'static str, (&'static str, String)>,
    pub(crate) indexes: BTreeMap<&'static str, (&'static str, String)>,
    pub(crate) views: BTreeMap<&'static str, (View, String)>,
}

impl Wanted {
    /// Checks a list. An index is current as long as its own text and those of the functions that it names are: what it holds is what they computed.
    pub(crate) fn of(views: &[View], definition: fn(&View) -> &Definition) -> Result<Self, Error> {
        let mut wanted = Self::default();
        for view in views {
            let parts = definition(view);
            for function in parts.functions {
                add(&mut wanted.functions, function, digest(&[function.text]))?;
            }
        }
        for view in views {
            let parts = definition(view);
            for index in parts.indexes {
                let called = wanted.functions.iter().filter(|(name, _)| index.text.contains(**name));
                let texts: Vec<&str> = [index.text].into_iter().chain(called.map(|(_, (text, _))| *text)).collect();
                add(&mut wanted.indexes, index, digest(&texts))?;
            }
            check(view.name)?;
            if view.name.starts_with(PREFIX) {
                return Err(invalid(format!("{:?} cannot name a view: {PREFIX} begins the names of parts", view.name)));
            }
            view.columns.iter().try_for_each(|column| check(column.name))?;
            let mut texts = vec![parts.select, view.meaning];
            texts.extend(view.columns.iter().flat_map(|column| [column.name, column.meaning]));
            if wanted.views.insert(view.name, (*view, digest(&texts))).is_some() {
                return Err(invalid(format!("two views are named {:?}", view.name)));
            }
        }
        Ok(wanted)
    }
}

/// The columns as they stand behind a view's name.
pub(crate) fn columns(view: &View) -> String {
    let names: Vec<&str> = view.columns.iter().map(|column| column.name).collect();
    names.join(", ")
}

fn add(parts: &mut BTreeMap<&'static str, (&'static str, String)>, part: &Part, digest: String) -> Result<(), Error> {
    check(part.name)?;
    if !part.name.starts_with(PREFIX) {
        return Err(invalid(format!("{:?} does not begin with {PREFIX}", part.name)));
    }
    match parts.insert(part.name, (part.text, digest)) {
        Some((text, _)) if text != part.text => Err(invalid(format!("{:?} has two texts", part.name))),
        _ => Ok(()),
    }
}

fn check(name: &str) -> Result<(), Error> {
    let is_valid = (1..=NAME_MAX).contains(&name.len())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        && !name.starts_with(|first: char| first.is_ascii_digit());
    if is_valid {
        return Ok(());
    }
    Err(invalid(format!("{name:?} cannot be a name in a view: 1 to {NAME_MAX} of a-z, 0-9 and _ are allowed")))
}

fn invalid(context: String) -> Error {
    Error::new(ErrorKind::Invalid, context)
}

/// Sixteen digits tell texts apart, and no more is asked of them.
fn digest(texts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update(text.len().to_be_bytes());
        digest.update(text);
    }
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::Column, *};

    const EMPTY: Definition = Definition { functions: &[], select: "SELECT 1", indexes: &[] };
    const ONE: Column = Column { name: "one", postgres: "integer", sqlite: "INTEGER", meaning: "One." };
    const VIEW: View = View { name: "ones", meaning: "One.", columns: &[ONE], postgres: EMPTY, sqlite: EMPTY };

    fn refused(views: &[View]) -> String {
        let error = Wanted::of(views, |view| &view.sqlite).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.to_string()
    }

    #[test]
    fn hostile_names_are_refused() {
        for name in ["", "Orders", "a b", "1a", "a\"; DROP TABLE record; --", "ö", &"a".repeat(32), "view_orders"] {
            let name: &'static str = name.to_owned().leak();
            assert!(refused(&[View { name, ..VIEW }]).contains("cannot"), "{name}");
        }
        let bad = View { columns: &[Column { name: "x y", ..ONE }], ..VIEW };
        assert!(refused(&[bad]).contains("x y"));
        assert!(refused(&[VIEW, VIEW]).contains("two views"));
        let part = |name, text| Definition { indexes: Box::leak(Box::new([Part { name, text }])), ..EMPTY };
        assert!(refused(&[View { sqlite: part("record_key", "record(key)"), ..VIEW }]).contains("begin with"));
        let (a, b) = (part("view_a", "record(key)"), part("view_a", "record(type)"));
        let two = [View { sqlite: a, ..VIEW }, View { name: "twos", sqlite: b, ..VIEW }];
        assert!(refused(&two).contains("two texts"));
    }

    #[test]
    fn a_digest_tells_any_other_text() {
        let of = |view: View| Wanted::of(&[view], |view| &view.sqlite).unwrap().views[view.name].1.clone();
        let others = [
            View { meaning: "Two.", ..VIEW },
            View { columns: &[Column { meaning: "Two.", ..ONE }], ..VIEW },
            View { sqlite: Definition { select: "SELECT 2", ..EMPTY }, ..VIEW },
        ];
        assert_eq!(of(VIEW), of(VIEW));
        assert!(others.into_iter().all(|other| of(other) != of(VIEW)));
    }
}
