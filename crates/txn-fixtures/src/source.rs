//! The documents that a crate's source declares, by a scan of its text: `impl Document for` with its two constants, and the lines of `documents!`.

use std::{collections::BTreeSet, fs, path::Path};

/// The types and schemas declared below a folder. Comments and what stands behind `#[cfg(test)]` do not count.
pub(crate) fn documents(folder: &Path) -> BTreeSet<(String, u16)> {
    let mut found = BTreeSet::new();
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(documents(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let declared = declared(&text).unwrap_or_else(|what| {
                panic!("{}: a document whose TYPE and SCHEMA cannot be read: {what}", path.display())
            });
            found.extend(declared);
        }
    }
    found
}

fn declared(text: &str) -> Result<Vec<(String, u16)>, String> {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.starts_with("//")).collect();
    let mut found = Vec::new();
    let mut lines = code.iter();
    while let Some(line) = lines.next() {
        if line.contains("Document for $") {
            continue;
        }
        if line.starts_with("impl") && line.contains("Document for ") {
            let body: Vec<&str> = lines.by_ref().take_while(|line| **line != "}").copied().collect();
            let of = |name: &str| {
                let constant = body.iter().find(|line| line.starts_with(name))?;
                Some(constant.split_once('=')?.1.trim().trim_end_matches(';').trim_matches('"').to_owned())
            };
            let read = || Some((of("const TYPE")?, of("const SCHEMA")?.parse().ok()?));
            found.push(read().ok_or_else(|| (*line).to_owned())?);
        } else if *line == "documents! {" {
            for line in lines.by_ref().take_while(|line| **line != "}") {
                let read = || {
                    let (_, declared) = line.split_once("=>")?;
                    let (name, schema) = declared.trim_end_matches(';').split_once(',')?;
                    Some((name.trim().trim_matches('"').to_owned(), schema.trim().parse().ok()?))
                };
                found.push(read().ok_or_else(|| (*line).to_owned())?);
            }
        }
    }
    Ok(found)
}
