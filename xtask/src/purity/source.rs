//! What a source file says outside comments, literals and tests.

/// Words that a pure crate has no use for, each with the reason. A word is matched whole.
const FORBIDDEN: &[(&str, &str)] = &[
    ("std::", "the pure crates use core and alloc"),
    ("extern crate std", "the pure crates use core and alloc"),
    ("async", "a decision never awaits"),
    (".await", "a decision never awaits"),
    ("Instant::now", "time is an argument"),
    ("SystemTime", "time is an argument"),
    ("now_v7", "ids are arguments"),
    ("new_v4", "ids are arguments"),
    ("thread_rng", "randomness is an argument"),
    ("getrandom", "randomness is an argument"),
    ("print!", "the pure crates do not log"),
    ("println!", "the pure crates do not log"),
    ("eprint!", "the pure crates do not log"),
    ("eprintln!", "the pure crates do not log"),
    ("dbg!", "the pure crates do not log"),
];

/// How an item that exists only under test begins. A `cfg` that can hold in a shipped build does not count.
const TEST_ONLY: &[&str] = &["#[cfg(test)]", "#[cfg(all(test,"];

/// A file's code, line for line.
pub(super) struct Source {
    /// Comments, literals and test-only items are blanks here.
    code: String,
    /// Names of `mod name;` that exist under test only.
    pub(super) test_modules: Vec<String>,
}

impl Source {
    pub(super) fn read(text: &str) -> Self {
        let mut rest = &*code_only(text);
        if rest.trim_start().starts_with("#![cfg(test)]") {
            return Self { code: String::new(), test_modules: Vec::new() };
        }
        let mut code = String::with_capacity(rest.len());
        let mut test_modules = Vec::new();
        while let Some(at) = TEST_ONLY.iter().filter_map(|start| rest.find(start)).min() {
            let (before, item) = rest.split_at(at);
            let (item, after) = item.split_at(item_length(item));
            code.push_str(before);
            code.push_str(&blank(item));
            let mut words = item.split_whitespace().skip_while(|word| *word != "mod").skip(1);
            test_modules.extend(words.next().and_then(|word| word.strip_suffix(';')).map(str::to_owned));
            rest = after;
        }
        code.push_str(rest);
        Self { code, test_modules }
    }

    pub(super) fn is_no_std(&self) -> bool {
        ["#![no_std]", "#![cfg_attr(not(test), no_std)]"].iter().any(|attribute| self.code.contains(attribute))
    }

    /// Line numbers, from 1, with what is wrong there.
    pub(super) fn impurities(&self) -> Vec<(usize, String)> {
        let lines = self.code.lines().zip(1..);
        lines
            .flat_map(|(line, number)| {
                let found = FORBIDDEN.iter().filter(|(word, _)| has_word(line, word));
                found.map(move |(word, why)| (number, format!("`{word}`: {why}")))
            })
            .collect()
    }
}

/// Whether `word` stands in `line` and is not a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let (before, found) = line.split_at(at);
        let after = found.strip_prefix(word).unwrap_or_default();
        let starts = !word.starts_with(is_name) || !before.ends_with(is_name);
        let ends = !word.ends_with(is_name) || !after.starts_with(is_name);
        starts && ends
    })
}

/// The text with every comment and literal replaced by blanks; line breaks stay.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let dark = comment_length(rest).or_else(|| if code.ends_with(is_name) { None } else { literal_length(rest) });
        let (taken, after) = rest.split_at(dark.unwrap_or(first.len_utf8()));
        code.push_str(&if dark.is_some() { blank(taken) } else { taken.to_owned() });
        rest = after;
    }
    code
}

fn comment_length(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    let mut rest = text.strip_prefix("/*")?;
    let mut depth = 1_usize;
    while depth > 0 {
        let Some(at) = rest.find(['/', '*']) else { return Some(text.len()) };
        rest = rest.split_at(at).1;
        if let Some(inner) = rest.strip_prefix("/*") {
            (rest, depth) = (inner, depth.saturating_add(1));
        } else if let Some(outer) = rest.strip_prefix("*/") {
            (rest, depth) = (outer, depth.saturating_sub(1));
        } else {
            rest = rest.split_at(1).1;
        }
    }
    Some(text.len().saturating_sub(rest.len()))
}

/// The length of the string, byte string or character that starts here. A lifetime is none of them.
fn literal_length(text: &str) -> Option<usize> {
    let body = text.trim_start_matches(['b', 'c', 'r']);
    let (prefix, _) = text.split_at(text.len().saturating_sub(body.len()));
    let rest = match prefix {
        "r" | "br" | "cr" => {
            let quoted = body.trim_start_matches('#');
            let (hashes, _) = body.split_at(body.len().saturating_sub(quoted.len()));
            let end = format!("\"{hashes}");
            quoted.strip_prefix('"')?.split_once(&end).map_or("", |(_, after)| after)
        }
        "" | "b" | "c" => match body.strip_prefix('"') {
            Some(inside) => after_closing('"', inside),
            None => {
                let inside = body.strip_prefix('\'')?;
                let mut characters = inside.chars();
                let escaped = characters.next()? == '\\';
                if !escaped && characters.next()? != '\'' {
                    return None;
                }
                after_closing('\'', inside)
            }
        },
        _ => return None,
    };
    Some(text.len().saturating_sub(rest.len()))
}

/// What follows the first `quote` that is not escaped.
fn after_closing(quote: char, inside: &str) -> &str {
    let mut characters = inside.chars();
    while let Some(character) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            break;
        }
    }
    characters.as_str()
}

/// From the attribute to the end of its item: a `;` or a closed `{…}` outside parentheses and brackets.
fn item_length(item: &str) -> usize {
    let (mut nested, mut braces) = (0_usize, 0_usize);
    for (at, character) in item.char_indices() {
        match character {
            '(' | '[' => nested = nested.saturating_add(1),
            ')' | ']' => nested = nested.saturating_sub(1),
            '{' => braces = braces.saturating_add(1),
            '}' => {
                braces = braces.saturating_sub(1);
                if braces == 0 {
                    return at.saturating_add(1);
                }
            }
            ';' if nested == 0 && braces == 0 => return at.saturating_add(1),
            _ => {}
        }
    }
    item.len()
}

fn blank(text: &str) -> String {
    text.chars().map(|character| if character == '\n' { '\n' } else { ' ' }).collect()
}

fn is_name(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::Source;

    fn found(text: &str) -> Vec<(usize, String)> {
        let words = Source::read(text).impurities().into_iter();
        words.map(|(line, what)| (line, what.split('`').nth(1).unwrap_or_default().to_owned())).collect()
    }

    fn words(text: &str) -> Vec<String> {
        found(text).into_iter().map(|(_, word)| word).collect()
    }

    #[test]
    fn each_forbidden_word_is_found_with_its_line() {
        let text = "use core::fmt;\nuse std::io;\n\nasync fn f() { g().await }\nfn t() { Instant::now(); SystemTime::now(); }\n\
                    fn i() { Uuid::now_v7(); Uuid::new_v4(); thread_rng(); println!(); ::std::process::exit(1) }\n";
        let expected = [(2, "std::"), (4, "async"), (4, ".await"), (5, "Instant::now"), (5, "SystemTime")];
        let last = [(6, "std::"), (6, "now_v7"), (6, "new_v4"), (6, "thread_rng"), (6, "println!")];
        let expected: Vec<_> = expected.into_iter().chain(last).map(|(line, word)| (line, word.to_owned())).collect();
        assert_eq!(found(text), expected);
    }

    #[test]
    fn a_longer_name_is_another_word() {
        assert!(words("my_std::f(); asyncness(); eprintln_later!(); SystemTimes; AsyncRead").is_empty());
    }

    #[test]
    fn comments_and_literals_say_nothing() {
        let quiet = [
            "// std::io\n/// std::io\n//! std::io",
            "/* std::io /* async */ std::io */",
            r#"let a = "std::io \" async"; let b = b"async"; let c = c"async";"#,
            r###"let a = r#"std::io " async"#; let b = br"async";"###,
            "let a = '\"'; let b = b'\\''; // async",
        ];
        for text in quiet {
            assert!(words(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn code_after_a_comment_or_literal_is_seen_again() {
        for text in [
            "/* a /* b */ c */ async",
            r#"let a = "x\\"; async"#,
            "let a = '\"'; async",
            "fn f<'a>(x: &'a str) { async }",
            r##"let r#type = r#"x"#; async"##,
            "// one\nasync",
        ] {
            assert_eq!(words(text), ["async"], "{text}");
        }
    }

    #[test]
    fn items_under_test_are_left_out_and_the_rest_stays() {
        let text = "#[cfg(test)]\nmod tests {\n    use std::io;\n    fn f() { if true { async } }\n}\nuse std::io;\n\
                    #[cfg(test)] use std::{io, fs};\n#[cfg(test)]\nconst A: [u8; 2] = std::mem::zeroed();\nasync";
        assert_eq!(found(text), [(6, "std::".to_owned()), (10, "async".to_owned())]);
        assert!(words("#![cfg(test)]\nuse std::io;").is_empty());
    }

    #[test]
    fn a_feature_or_a_negation_is_not_a_test() {
        assert_eq!(words("#[cfg(any(test, feature = \"x\"))]\nuse std::io;"), ["std::"]);
        assert_eq!(words("#[cfg(not(test))]\nuse std::io;"), ["std::"]);
    }

    #[test]
    fn a_test_module_in_a_file_of_its_own_is_named() {
        let source = Source::read("#[cfg(test)]\nmod tests;\nmod money;\n#[cfg(test)]\npub(crate) mod model;\n");
        assert_eq!(source.test_modules, ["tests", "model"]);
    }

    #[test]
    fn no_std_must_be_said_in_code() {
        assert!(Source::read("//! Docs.\n#![no_std]\n").is_no_std());
        assert!(Source::read("#![cfg_attr(not(test), no_std)]\n").is_no_std());
        assert!(!Source::read("// #![no_std]\n").is_no_std());
    }
}
