//! What stands in the file, and what becomes of it when another hand has written there.

use super::*;

#[test]
fn amounts_beyond_64_bits_are_bytes_and_small_ones_are_integers() {
    let (_folder, path) = place();
    let store = Sqlite::open(&path).unwrap();
    let edges = [i128::from(i64::MAX), 1, i128::MIN / 2, i128::MAX / 2];
    for (nth, amount) in edges.into_iter().enumerate() {
        done(&store, change(&format!("a/{nth}")).add(add(&format!("c/{nth}"), amount)));
    }
    drop(store);
    let store = Sqlite::open(&path).unwrap();
    for (nth, amount) in edges.into_iter().enumerate() {
        done(&store, change(&format!("b/{nth}")).add(add(&format!("c/{nth}"), 1)));
        let found = find(&store, &Query::entries(key(TALLY, &format!("c/{nth}")))).unwrap();
        let Found::Entry(entry) = &found[1] else { panic!("{found:?}") };
        assert_eq!(entry.after.0[0], amount + 1);
    }
    let raw = rusqlite::Connection::open(&path).unwrap();
    let kinds: Vec<String> = raw
        .prepare("SELECT typeof(l0) FROM counter ORDER BY no")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(kinds, ["blob", "integer", "blob", "blob"]);
}

/// Cases B41, B42. What a hand with a database shell breaks, a length beyond the bytes that are there and an unknown format among it, is named by what reads it, and exported as an orphan; nothing panics, and the rest is read.
#[test]
fn damaged_rows_are_named() {
    let record = || Query::Records(Range::kind(Kind::new(NOTE).unwrap()));
    let by_term = || Query::RecordsByTerm(Range::kind(Kind::new(BY_WORD).unwrap()));
    let events = || Query::EventsByTerm(Range::kind(Kind::new(BY_WORD).unwrap()));
    let counters = || Query::Counters(Range::kind(Kind::new(TALLY).unwrap()));
    let entries = || Query::entries(key(TALLY, "all"));
    for (sql, query, error, orphan) in [
        ("UPDATE record SET terms = x'0009' WHERE no = 1", record(), "record note/a", "record note/a: column terms"),
        ("UPDATE record SET format = 9 WHERE no = 1", record(), "record note/a", "record note/a: column format"),
        ("UPDATE record SET key = x'01' WHERE no = 1", record(), "", "record without a name: column key"),
        ("DELETE FROM record WHERE no = 1", by_term(), "record note/a", "index term by-word/a of no record note/a"),
        ("UPDATE counter SET l0 = x'0102'", counters(), "counter tally/all", "counter tally/all: column l0"),
        ("UPDATE counter SET guards = 'none'", counters(), "counter tally/all", "counter tally/all: column guards"),
        ("UPDATE class SET spec = '{}'", counters(), "class 1 cannot be read", "class 1 cannot be read"),
        ("DELETE FROM counter", entries(), "", "there is no counter 1"),
        ("UPDATE entry SET d1 = 'x' WHERE no = 2", entries(), "column d1", "entry of change 2: column d1"),
        (
            "UPDATE entry SET n = 1000 WHERE no = 1",
            entries(),
            "its change does not exist",
            "entry 1 of counter tally/all",
        ),
        ("DELETE FROM change WHERE n = 2", Query::Changes, "", "entry 2 of counter tally/all"),
        ("UPDATE change SET id = 'with space' WHERE n = 2", Query::Changes, "change with space", "change 2: column id"),
        ("UPDATE event SET fact = '' WHERE position = 1", events(), "column fact", "event of change 1: column fact"),
        ("UPDATE event SET n = -5 WHERE position = 4", events(), "", "event at position 4"),
        ("DELETE FROM event WHERE position = 1", events(), "its event does not exist", "of no event at position 1"),
        (
            "DELETE FROM event_term WHERE position = 3",
            events(),
            "",
            "event at position 3: its index term by-word/b is missing",
        ),
        (
            "UPDATE event_term SET position = 4 WHERE position = 3",
            events(),
            "",
            "of event at position 4, which does not state it",
        ),
        ("UPDATE tenant SET name = 'NO NAME'", Query::Changes, "", "no valid name"),
    ] {
        let (_folder, path) = place();
        let store = Sqlite::open(&path).unwrap();
        for id in ["a", "b", "c"] {
            done(&store, whole(id));
        }
        drop(store);
        shell(&path, sql);
        let store = Sqlite::open(&path).unwrap();
        if !error.is_empty() {
            let found = find(&store, &query).map(|found| found.len());
            let named = found.expect_err(sql);
            assert_eq!(named.kind(), ErrorKind::Corrupt, "{sql}");
            assert!(named.to_string().contains(error), "{sql}: {named}");
        }
        let rows = export(&store);
        let orphans: Vec<&str> = rows
            .iter()
            .filter_map(|row| if let Row::Orphan { what } = row { Some(what.as_str()) } else { None })
            .collect();
        assert!(orphan.is_empty() || orphans.iter().any(|what| what.contains(orphan)), "{sql}: {orphans:?}");
        // One damage does not hide what stands behind it.
        let commits = rows.iter().filter(|row| matches!(row, Row::Commit { id, .. } if id.as_str() == "c")).count();
        assert_eq!(commits, usize::from(!sql.starts_with("UPDATE tenant")), "{sql}");
    }
}

/// 40 entries of counter 1, with those of another in between, in rows of odd numbers.
fn forty(store: &Sqlite) {
    for nth in 1..=40 {
        done(store, change(&format!("c-{nth}")).add(add("all", 1)).add(add("other", 1)));
    }
}

/// The sequences of a page of entries.
fn sequences(page: &Page) -> Vec<u64> {
    page.items.iter().map(|item| if let Found::Entry(entry) = item { entry.sequence } else { 0 }).collect()
}

/// Every 16th entry is indexed. Wherever a page begins and ends, it holds the same; after another opening the chain goes on.
#[test]
fn entries_come_in_pages_of_any_size() {
    let (_folder, path) = place();
    let store = Sqlite::open(&path).unwrap();
    forty(&store);
    drop(store);
    let store = Sqlite::open(&path).unwrap();
    done(&store, change("twice").add(add("all", 1)).add(add("other", 1)).add(add("all", 1)));
    let query = Query::entries(key(TALLY, "all"));
    for limit in 1..=43 {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = block_on(store.find(&Tenant::default(), &query, after.as_ref(), limit)).unwrap();
            let found = sequences(&page);
            assert!(found.len() == limit || page.next.is_none(), "{limit}: {found:?}");
            all.extend(found);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(all, (1..=42).collect::<Vec<_>>(), "{limit}");
    }
    assert!(!export(&store).iter().any(|row| matches!(row, Row::Orphan { .. })));
}

/// A link between entries that leads elsewhere, nowhere or round is named by every page that needs it, and by the export; pages below it are read.
#[test]
fn a_damaged_link_between_entries_is_named() {
    let of_20 = "entry 20 of counter tally/all of tenant default: it does not lead";
    let last = "counter tally/all: it does not lead to its last entry";
    for (sql, error, orphan) in [
        ("UPDATE entry SET previous = no WHERE no = 39", "entry 19: row 39 stands", of_20),
        ("UPDATE entry SET previous = 41 WHERE no = 39", "entry 19: row 41 stands", of_20),
        ("UPDATE entry SET previous = 38 WHERE no = 39", "entry 19: row 38 stands", of_20),
        ("UPDATE entry SET previous = 35 WHERE no = 39", "entry 19: row 35 stands", of_20),
        ("UPDATE entry SET previous = -1 WHERE no = 39", "entry 19 does not exist", of_20),
        ("UPDATE entry SET previous = 5 WHERE no = 1", "", "entry 1 of counter tally/all of tenant default: it does"),
        ("DELETE FROM entry WHERE no = 37", "entry 19 does not exist", of_20),
        ("DELETE FROM entry WHERE no = 63", "entry 32 does not exist", "entry 33 of counter"),
        ("UPDATE entry SET sequence = 48 WHERE no = 63", "entry 32: row 63 stands", "entry 33 of counter"),
        ("UPDATE entry SET counter = 2 WHERE no = 39", "entry 20: row 39 stands", "entry 20 of counter tally/other"),
        ("UPDATE counter SET last = 80 WHERE no = 1", "entry 40: row 80 stands", last),
        ("UPDATE counter SET last = 0 WHERE no = 1", "entry 40 does not exist", last),
        ("UPDATE counter SET sequence = 39 WHERE no = 1", "entry 39: row 79 stands", last),
        ("UPDATE counter SET sequence = 9223372036854775807 WHERE no = 1", "entry 1008 does not exist", last),
    ] {
        let (_folder, path) = place();
        let store = Sqlite::open(&path).unwrap();
        forty(&store);
        shell(&path, sql);
        let query = Query::entries(key(TALLY, "all"));
        let page = |limit| block_on(store.find(&Tenant::default(), &query, None, limit));
        match page(1_000) {
            Ok(page) => assert!(error.is_empty() && page.items.len() == 40, "{sql}"),
            Err(named) => {
                assert_eq!(named.kind(), ErrorKind::Corrupt, "{sql}");
                let said = named.to_string();
                assert!(
                    !error.is_empty() && said.contains("counter tally/all") && said.contains(error),
                    "{sql}: {said}"
                );
            }
        }
        // Reaches up to entry 32, by the index.
        let is_above = sql.starts_with("UPDATE counter") || error.is_empty();
        assert_eq!(
            page(20).map(drop).map_err(|named| named.kind()),
            is_above.then_some(()).ok_or(ErrorKind::Corrupt),
            "{sql}"
        );
        assert_eq!(sequences(&page(15).unwrap()), (1..=15).collect::<Vec<_>>(), "{sql}");
        let rows = export(&store);
        let orphan_of = |row| if let Row::Orphan { what } = row { Some(what) } else { None };
        let orphans: Vec<String> = rows.into_iter().filter_map(orphan_of).collect();
        assert!(orphans.iter().any(|what| what.contains(orphan)), "{sql}: {orphans:?}");
    }
}

#[test]
fn a_row_that_cannot_be_read_fails_its_own_change_alone() {
    let (_folder, path) = place();
    let store = Sqlite::open(&path).unwrap();
    done(&store, whole("a"));
    shell(&path, "UPDATE record SET terms = x'0009'");
    let touches = change("touch").remove(key(NOTE, "a"), 1);
    let results = block_on(store.commit(vec![commit_of(whole("b")), commit_of(touches), commit_of(whole("c"))]));
    assert!(matches!(results[0], Ok(Outcome::Done(_))), "{results:?}");
    let error = results[1].as_ref().unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("note/a"), "{error}");
    assert!(matches!(results[2], Ok(Outcome::Done(_))), "{results:?}");
}

/// The writer remembers counters. A person who repairs one by hand must not be overwritten by what it remembers.
#[test]
fn what_another_connection_writes_is_seen_by_the_next_commit() {
    let (_folder, path) = place();
    let store = Sqlite::open(&path).unwrap();
    done(&store, change("a").add(add("c", 5)));
    shell(&path, "UPDATE counter SET l0 = 100");
    done(&store, change("b").add(add("c", 1)));
    let found = find(&store, &Query::Counters(Range::kind(Kind::new(TALLY).unwrap()))).unwrap();
    let Found::Counter(_, counter) = &found[0] else { panic!("{found:?}") };
    assert_eq!(counter.lanes.0[0], 101);
}

/// The writer remembers the head of the chain too. It goes on from the link that is stored, and what lost its link is named.
#[test]
fn the_chain_goes_on_from_the_link_that_is_stored() {
    let (_folder, path) = place();
    let store = Sqlite::open(&path).unwrap();
    let first = done(&store, whole("a")).head;
    assert_eq!(done(&store, whole("b")).head.number, 2);
    shell(&path, "DELETE FROM link WHERE number = 2");
    let orphans = |rows: &[Row]| rows.iter().filter(|row| matches!(row, Row::Orphan { .. })).count();
    assert_eq!(orphans(&export(&store)), 1, "the second commit stands behind the last link");
    assert_eq!(block_on(store.health()).unwrap().chain, first);
    let again = done(&store, whole("c")).head;
    assert_eq!((again.number, block_on(store.health()).unwrap().chain), (2, again));
    drop(store);
    let store = Sqlite::open(&path).unwrap();
    assert_eq!(block_on(store.health()).unwrap().chain, again);
    assert_eq!(done(&store, whole("c")).head, again, "a replay states the head");
    assert_eq!(done(&store, whole("d")).head.number, 3);
}
