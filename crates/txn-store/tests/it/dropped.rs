//! Every public function that waits is dropped wherever it can stand, by some test: here is which. One that is new, and not in the list, is noticed.

use std::{collections::BTreeMap, fs, path::Path};

const SUITE: &str = "src/conformance/cancel.rs";
const POSTGRES: &str = "tests/it/postgres/dropped.rs";
const HOST: &str = "tests/it/commit_in/postgres.rs";

/// Each function, the file of the test that drops its call, and the call as it stands there.
const DROPPED: &[(&str, &str, &str)] = &[
    ("Consumer::acknowledge", SUITE, "drops.call(consumer.acknowledge())"),
    ("Consumer::acknowledge_up_to", SUITE, "drops.call(consumer.acknowledge_up_to(last))"),
    ("Consumer::list", SUITE, "        Consumer::list(&*store),\n    ];"),
    ("Consumer::next", SUITE, "inner.call(consumer.next())"),
    ("Consumer::open", SUITE, "drops.call(open())"),
    ("Consumer::retire", SUITE, "drops.call(open().await?.retire())"),
    ("Export::next", SUITE, "drops.call(export.next(1))"),
    ("Follow::next", SUITE, "drops.call(log.next())"),
    ("Options::open", POSTGRES, "polled(times, options().open())"),
    ("Postgres::begin", HOST, "let mut tx = host.begin(\"READ COMMITTED\").await;"),
    ("Postgres::close", POSTGRES, "drops.call(Arc::into_inner(store).unwrap().close())"),
    (
        "Postgres::commit_in",
        HOST,
        "is_ended = polled(times, async {\n                    is_written(host.store.commit_in(",
    ),
    ("Postgres::open", POSTGRES, "polled(times, options().open())"),
    ("Scope::commit", SUITE, "drops.call(scope.commit("),
    ("Scope::commit_many", SUITE, "drops.call(scope.commit_many("),
    ("Scope::counter", SUITE, "        scope.counter(counter.clone()),"),
    ("Scope::find", SUITE, "        scope.find(&query, None, 1),"),
    ("Scope::get", SUITE, "        scope.get(ask()?),"),
    ("Scope::get_many", SUITE, "        scope.get_many(vec![ask()?, ask()?]),"),
    ("Scope::record", SUITE, "        scope.record(key.clone()),"),
    ("Scope::resolve", SUITE, "drops.call(scope.resolve("),
    ("Store::commit", SUITE, "drops.call(subject.store.commit(batch))"),
    ("Store::find", SUITE, "        subject.store.find(&subject.tenant, &query, None, 1),"),
    ("Store::get", SUITE, "        subject.store.get(vec![ask()?, ask()?]),"),
    ("Store::read", SUITE, "        subject.store.read(Position(0), 1),"),
    ("Store::watch", SUITE, "        subject.store.watch(Position(0)),"),
    ("StoreAdmin::erase", SUITE, "drops.call(subject.store.erase("),
    ("StoreAdmin::export", SUITE, "drops.call(subject.store.export())"),
    ("StoreAdmin::health", SUITE, "        subject.store.health(),"),
    ("StoreAdmin::purge", SUITE, "drops.call(subject.store.purge("),
];

/// Not a part of a store: what tests it.
const TOOLS: [&str; 2] = ["conformance", "faults"];

/// Case F38.
#[test]
fn every_public_function_that_waits_is_dropped_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    collect(&root.join("src"), &mut found);
    found.sort();
    let listed: Vec<&str> = DROPPED.iter().map(|(function, ..)| *function).collect();
    assert_eq!(found, listed, "the public functions that wait, and the list of those that are dropped");
    let mut texts = BTreeMap::new();
    for (function, file, call) in DROPPED {
        let text = texts.entry(*file).or_insert_with(|| fs::read_to_string(root.join(file)).unwrap());
        assert!(text.contains(call), "{function}: {file} has no {call:?}");
    }
}

/// The public functions that wait, in the files of a folder: methods of types and of traits by the type's name, others by the file's.
fn collect(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !TOOLS.contains(&name) {
                collect(&path, found);
            }
            continue;
        }
        let (mut of, mut is_trait) = (name.to_owned(), false);
        for line in fs::read_to_string(&path).unwrap().lines() {
            let begins = ["pub trait ", "impl "].into_iter().find_map(|begin| Some((begin, line.strip_prefix(begin)?)));
            if let Some((begin, rest)) = begins {
                let is_name = |c: char| c.is_alphanumeric() || c == '_';
                (of, is_trait) = (rest.split(|c| !is_name(c)).next().unwrap().to_owned(), begin.starts_with("pub"));
            } else if line == "}" {
                (of, is_trait) = (name.to_owned(), false);
            }
            let line = line.strip_prefix("    ").unwrap_or(line);
            let method =
                line.strip_prefix("pub async fn ").or_else(|| line.strip_prefix("async fn ").filter(|_| is_trait));
            if let Some(method) = method {
                found.push(format!("{of}::{}", method.split(['(', '<']).next().unwrap()));
            }
        }
    }
}
