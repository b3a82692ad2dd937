//! Keeps the shapes of stored documents: what was written once stays readable, and no shape changes unseen.
//!
//! A crate has a file `tests/fixtures/TYPE@SCHEMA.jsonl` for every [`Document`] that it declares: one stored document per line, byte for byte. Its test names the types:
//!
//! ```no_run
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Serialize, Deserialize)]
//! # struct Note {}
//! # impl txn_change::Document for Note { const TYPE: &'static str = "note"; const SCHEMA: u16 = 1; }
//! txn_fixtures::Fixtures::of(env!("CARGO_MANIFEST_DIR")).keep::<Note>().finish();
//! ```
//!
//! What is checked, and fails with a message that says what to do:
//!
//! - every document that the crate's source declares is named and has files for its schema and for all before;
//! - every line is read as today's type, those of earlier schemas by [`Document::lift`];
//! - a line of today's schema is written again as it stands, and lets no field in that is unknown or repeated;
//! - every field and every variant that the type knows stands in a line, so that a new one is noticed too.
//!
//! *Not* checked: that a lift means the right thing.
#![allow(clippy::panic, reason = "a tool for tests: what it finds fails the test")]

mod json;
mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use txn_change::{Body, BodyError, Document};

/// The fixtures of one crate. See the [crate](self).
#[must_use = "what is missing is found by `finish`"]
pub struct Fixtures {
    folder: PathBuf,
    /// Types and schemas that the source declares.
    declared: BTreeSet<(String, u16)>,
    kept: BTreeSet<(String, u16)>,
}

impl Fixtures {
    /// Those of the crate in this folder: `env!("CARGO_MANIFEST_DIR")`.
    pub fn of(manifest_folder: impl AsRef<Path>) -> Self {
        let folder = manifest_folder.as_ref();
        let declared = source::documents(&folder.join("src"));
        Self { folder: folder.join("tests/fixtures"), declared, kept: BTreeSet::new() }
    }

    /// Checks the files of a type, of its schema and of all before.
    pub fn keep<T: Document>(mut self) -> Self {
        for schema in 1..=T::SCHEMA {
            let file = self.file(T::TYPE, schema);
            let name = format!("{}@{schema}", T::TYPE);
            let text = fs::read_to_string(&file).unwrap_or_else(|_| {
                panic!("{name} has no fixture: put every field and every variant of it into {}, a stored document per line", file.display())
            });
            assert!(
                !text.is_empty() && text.ends_with('\n'),
                "{} holds no line, or does not end with one",
                file.display()
            );
            if schema < T::SCHEMA {
                earlier::<T>(&name, schema, &text);
            } else {
                current::<T>(&name, &text);
            }
            self.kept.insert((T::TYPE.to_owned(), schema));
        }
        self
    }

    /// Checks that nothing was forgotten.
    pub fn finish(self) {
        for (name, schema) in &self.declared {
            assert!(
                self.kept.contains(&(name.clone(), *schema)),
                "{name}@{schema} is declared in the source, and no fixture of it is kept: name its type in this test"
            );
        }
        for (name, schema) in &self.kept {
            let is_declared = self.declared.iter().any(|(declared, newest)| declared == name && newest >= schema);
            assert!(is_declared, "{name}@{schema} is kept, and the source does not declare it where it is looked for");
        }
        let kept: BTreeSet<PathBuf> = self.kept.iter().map(|(name, schema)| self.file(name, *schema)).collect();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            assert!(kept.contains(&entry.path()), "{} is the fixture of no document", entry.path().display());
        }
    }

    fn file(&self, name: &str, schema: u16) -> PathBuf {
        self.folder.join(format!("{name}@{schema}.jsonl"))
    }
}

const WHAT_TO_DO: &str = "What was stored must stay readable. Raise SCHEMA, add `lift`, keep this file as it is, and write a new one for the new schema. (Only a shape \
     that no release has written may change in place: then change its file.)";

fn read<T: Document>(schema: u16, json: String) -> Result<T, BodyError> {
    Body::raw(T::TYPE, schema, json.into_bytes()).read()
}

fn earlier<T: Document>(name: &str, schema: u16, text: &str) {
    for line in text.lines() {
        if let Err(error) = read::<T>(schema, line.to_owned()) {
            panic!("{name} is no longer read: {error}\n  {line}\n`lift` must read every schema that was ever written.");
        }
    }
}

fn current<T: Document>(name: &str, text: &str) {
    // What a struct or an enum expects, and what of it stands in a line.
    let mut expected: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines() {
        let value: T = read(T::SCHEMA, line.to_owned())
            .unwrap_or_else(|error| panic!("the shape of {name} has changed: {error}\n  {line}\n{WHAT_TO_DO}"));
        let written = Body::of(&value).unwrap_or_else(|error| panic!("{name}: {error}"));
        let written = String::from_utf8_lossy(written.bytes()).into_owned();
        assert_eq!(
            written, line,
            "the shape of {name} has changed: a document is written otherwise than it was stored. {WHAT_TO_DO}"
        );
        let document: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}"));
        let refusal = |json: String| match read::<T>(T::SCHEMA, json.clone()) {
            Err(BodyError::Unreadable { reason, .. }) => reason,
            other => panic!(
                "{name} lets in what it does not know ({:?}): it wants `deny_unknown_fields`\n  {json}",
                other.err()
            ),
        };
        if let Some((field, first)) = document.as_object().and_then(|fields| fields.iter().next()) {
            refusal(line.replacen('{', &format!("{{{}:{first},", Value::from(field.as_str())), 1));
        }
        for (with_more, fields) in json::with_a_field_more(&document) {
            let reason = refusal(with_more.to_string());
            if let Some(known) = json::expected(&reason, "unknown field") {
                expected.entry(known).or_default().extend(fields);
            }
        }
        for (with_another, variant) in json::with_another_variant(&document) {
            let reason = read::<T>(T::SCHEMA, with_another.to_string()).err().map(|error| error.to_string());
            if let Some(known) = reason.and_then(|reason| json::expected(&reason, "unknown variant")) {
                expected.entry(known).or_default().insert(variant);
            }
        }
    }
    for (known, found) in expected {
        for name_of_it in known {
            assert!(
                found.contains(&name_of_it),
                "{name} knows `{name_of_it}`, which stands in no line of its fixture: if it is new, the shape has changed. {WHAT_TO_DO}"
            );
        }
    }
}
