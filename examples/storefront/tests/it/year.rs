//! The beginning of a real retailer's year, where the file is at hand.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use flate2::read::MultiGzDecoder;
use storefront::replay;
use txn::store::{StoreAdmin, memory::Memory};

use crate::{
    oracle,
    replays::{block_on, check},
};

const ROWS: u64 = 12_000;

/// The file, where it is at hand: it is not part of the project, and lies beside it or does not. Who skips for it says so, past the capture of a test's output, which is shown for failures alone.
pub(crate) fn path() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/online-retail.csv.gz");
    if path.is_file() {
        return Some(path);
    }
    let test = thread::current().name().unwrap_or_default().to_owned();
    let why = "../shared/data/online-retail.csv.gz is not beside the repository";
    // `eprintln!` would be captured.
    io::stderr().write_all(format!("SKIPPED, nothing was tested: {test}: {why}\n").as_bytes()).unwrap();
    None
}

#[test]
fn the_first_rows_of_the_year_come_to_what_the_naive_rule_says() {
    let Some(path) = path() else { return };
    let mut bytes = Vec::new();
    MultiGzDecoder::new(fs::File::open(&path).unwrap()).read_to_end(&mut bytes).unwrap();
    // The oracle looks through everything for everything; rows that it leaves out anyway need not be split.
    let end = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(usize::try_from(ROWS * 2).unwrap());
    bytes.truncate(end.unwrap().0 + 1);
    let outcome = oracle::judge(&bytes, Some(ROWS));
    drop(bytes);
    block_on(async {
        let store: Arc<dyn StoreAdmin> = Arc::new(Memory::new());
        let replay = replay::replay(Arc::clone(&store), &path, Some(ROWS)).await.unwrap();
        check("the year", &store, &replay.totals, &outcome).await;
        println!(
            "{ROWS} rows: {} orders, {} commits in {} s",
            outcome.figures.orders, replay.totals.commits, replay.seconds
        );
    });
}
