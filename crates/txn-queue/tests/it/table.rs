//! The page about queues shows what the backends say of themselves.

use std::{fs, path::Path};

use txn_queue::{Capabilities, memory::Memory, postgres::Postgres, sqlite::Sqlite};

fn row(what: &str, say: impl Fn(&Capabilities) -> String) -> String {
    let backends = [Memory::CAPABILITIES, Sqlite::CAPABILITIES, Postgres::CAPABILITIES];
    let cells: Vec<String> = backends.iter().map(say).collect();
    format!("| {what} | {} |\n", cells.join(" | "))
}

fn yes(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

fn table() -> String {
    let mut table = "| | `memory` | `sqlite` | `postgres` |\n|---|---|---|---|\n".to_owned();
    let bound = |wait: Option<std::time::Duration>| match wait {
        None => "no".to_owned(),
        Some(std::time::Duration::MAX) => "without bound".to_owned(),
        Some(wait) => format!("{wait:?}"),
    };
    table += &row("what was accepted outlives the process", |can| yes(can.durable));
    table += &row("a message may be delayed", |can| bound(can.delay_max));
    table += &row("a delayed message is moved and cancelled by its schedule key", |can| yes(can.cancel));
    table += &row("priorities, which waiting raises", |can| yes(can.priority));
    table += &row("order and a bound per key", |can| yes(can.key_order));
    table += &row("repetitions are recognised", |can| bound(can.dedupe_max));
    table += &row("a group goes back to what is kept", |can| yes(can.replay));
    table += &row("messages are published and settled in a host's transaction", |can| yes(can.host_transactions));
    table
}

#[test]
fn the_table_of_the_page_is_what_the_backends_claim() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/queue.md");
    let text = fs::read_to_string(&page).unwrap();
    assert!(text.contains(&table()), "the table in docs/queue.md should be:\n{}", table());
}
