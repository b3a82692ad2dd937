//! A host's document through three schemas, and each mistake with what is said of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "what fails fails the test")]

use std::{fs, panic};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tempfile::TempDir;
use txn_change::{Body, BodyError, Document};
use txn_fixtures::Fixtures;

/// As the first release wrote it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoteV1 {
    text: String,
}

impl Document for NoteV1 {
    const TYPE: &'static str = "note";
    const SCHEMA: u16 = 1;
}

/// As the second one did: with a title.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoteV2 {
    title: String,
    text: String,
}

impl Document for NoteV2 {
    const TYPE: &'static str = "note";
    const SCHEMA: u16 = 2;
    fn lift(body: &Body) -> Option<Result<Self, BodyError>> {
        let from_1 = |NoteV1 { text }| Self { title: "untitled".into(), text };
        (body.schema() < 2).then(|| body.read().map(from_1))
    }
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Tone {
    Plain,
    Urgent,
}

/// As it is now: the text in lines, and a tone.
#[derive(Serialize, Deserialize, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
struct Note {
    title: String,
    lines: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tone: Option<Tone>,
}

impl Document for Note {
    const TYPE: &'static str = "note";
    const SCHEMA: u16 = 3;
    fn lift(body: &Body) -> Option<Result<Self, BodyError>> {
        let lines = |text: String| text.lines().map(str::to_owned).collect();
        let from_2 = |NoteV2 { title, text }| Self { title, lines: lines(text), tone: None };
        (body.schema() < 3).then(|| body.read().map(from_2))
    }
}

const V1: &str = "{\"text\":\"milk\\nbread\"}\n";
const V2: &str = "{\"title\":\"shopping\",\"text\":\"milk\\nbread\"}\n";
const V3: &str = "{\"title\":\"shopping\",\"lines\":[\"milk\"],\"tone\":\"plain\"}\n{\"title\":\"shopping\",\"lines\":[],\"tone\":\"urgent\"}\n";

/// A crate that declares `note` at these schemas, and has these fixtures.
fn a_crate(schemas: &[u16], fixtures: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("src/inner")).unwrap();
    fs::create_dir_all(folder.path().join("tests/fixtures")).unwrap();
    let declared = schemas.iter().map(|schema| {
        format!("    impl Document for NoteV{schema} {{\n    const TYPE: &'static str = \"note\";\n    const SCHEMA: u16 = {schema};\n    }}\n")
    });
    fs::write(folder.path().join("src/inner/note.rs"), declared.collect::<String>()).unwrap();
    for (name, lines) in fixtures {
        fs::write(folder.path().join("tests/fixtures").join(name), lines).unwrap();
    }
    folder
}

/// What is said of the fixtures of such a crate.
fn said<T: Document>(schemas: &[u16], fixtures: &[(&str, &str)]) -> String {
    let folder = a_crate(schemas, fixtures);
    let path = folder.path().to_owned();
    let failure = panic::catch_unwind(move || Fixtures::of(path).keep::<T>().finish()).expect_err("a mistake is found");
    failure.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn a_document_through_three_schemas() {
    let all = [("note@1.jsonl", V1), ("note@2.jsonl", V2), ("note@3.jsonl", V3)];
    let folder = a_crate(&[1, 2, 3], &all);
    Fixtures::of(folder.path()).keep::<Note>().finish();
    let read = |schema, stored: &str| Body::raw("note", schema, stored.trim().as_bytes().to_vec()).read::<Note>();
    let note = |title: &str| Note { title: title.into(), lines: vec!["milk".into(), "bread".into()], tone: None };
    assert_eq!(read(1, V1), Ok(note("untitled")));
    assert_eq!(read(2, V2), Ok(note("shopping")));
    assert!(matches!(read(0, V1), Err(BodyError::WrongType { .. })));
    assert!(matches!(read(4, V3), Err(BodyError::WrongType { .. })));
}

#[test]
fn what_was_forgotten_is_named() {
    let all = [("note@1.jsonl", V1), ("note@2.jsonl", V2), ("note@3.jsonl", V3)];
    assert!(said::<Note>(&[3], &all[1..]).contains("note@1 has no fixture"));
    assert!(
        said::<NoteV1>(&[1, 2], &all[..1]).contains("note@2 is declared in the source, and no fixture of it is kept")
    );
    assert!(said::<NoteV1>(&[], &all[..1]).contains("the source does not declare it"));
    assert!(said::<NoteV1>(&[1], &all[..2]).contains("note@2.jsonl is the fixture of no document"));
    assert!(said::<NoteV1>(&[1], &[("note@1.jsonl", "")]).contains("holds no line"));
}

/// A note as it was stored first, and what a careless edit makes of the type.
fn after_an_edit<T: Serialize + DeserializeOwned + Document>(stored: &str) {
    let said = said::<T>(&[1], &[("note@1.jsonl", stored)]);
    assert!(said.contains("Raise SCHEMA, add `lift`, keep this file"), "{said}");
}

macro_rules! edited {
    ($name:ident, $($field:tt)*) => {
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name { $($field)* }
        impl Document for $name {
            const TYPE: &'static str = "note";
            const SCHEMA: u16 = 1;
        }
    };
}

edited!(Renamed, words: String);
edited!(Swapped, b: u8, a: u8);
edited!(Typed, text: u8);
edited!(Removed,);
edited!(Added, text: String, more: String);
edited!(AddedAsAnOption, text: String, #[serde(default, skip_serializing_if = "Option::is_none")] more: Option<String>);
edited!(WithAVariantMore, tone: Tone);

#[test]
fn every_edit_of_a_shape_says_what_to_do() {
    after_an_edit::<Renamed>(V1);
    after_an_edit::<Swapped>("{\"a\":1,\"b\":2}\n");
    after_an_edit::<Typed>(V1);
    after_an_edit::<Removed>(V1);
    after_an_edit::<Added>(V1);
    after_an_edit::<AddedAsAnOption>(V1);
    after_an_edit::<WithAVariantMore>("{\"tone\":\"plain\"}\n");
}

/// Reads what it does not know, so that a field of a newer build would be lost.
#[derive(Serialize, Deserialize)]
struct Lax {
    text: String,
}

impl Document for Lax {
    const TYPE: &'static str = "note";
    const SCHEMA: u16 = 1;
}

/// Raised, and nothing lifts what was stored.
#[derive(Serialize, Deserialize)]
struct Unlifted {}

impl Document for Unlifted {
    const TYPE: &'static str = "note";
    const SCHEMA: u16 = 2;
}

#[test]
fn a_lax_reader_and_a_missing_lift_are_found() {
    assert!(said::<Lax>(&[1], &[("note@1.jsonl", V1)]).contains("deny_unknown_fields"));
    let raised = said::<Unlifted>(&[1, 2], &[("note@1.jsonl", V1), ("note@2.jsonl", "{}\n")]);
    assert!(raised.contains("note@1 is no longer read"), "{raised}");
}
