//! A process that is given too little: file descriptors, memory.

use std::time::Duration;

use txn_store::faults::Workload;

use super::child::{Scene, is_child, this_test};
use super::{hit, is_alive, is_whole, rounds};

fn limited(option: &str) -> Vec<String> {
    ["prlimit", option].map(str::to_owned).to_vec()
}

/// Runs the workload under each limit; how often the process could not do all of its work, and in how many of them its file descriptors were counted.
fn starve(test: &str, openings: u64, limits: impl Iterator<Item = String>) -> (u64, u64) {
    let (mut starved, mut counted) = (0, 0);
    for (round, limit) in limits.enumerate() {
        let patience = Duration::from_millis(200);
        let workload = Workload { seed: 23 + round as u64, changes: 30, workers: 3, patience };
        let scene = Scene::new(workload).openings(openings);
        drop(scene.open());
        let ended = scene.run(test, &limited(&limit));
        let (open, health) = (ended.said("open").to_owned(), ended.said("health").to_owned());
        println!("{limit}: {open}; {health}; {}", ended.status);
        let says = if open == "ok" { health } else { open };
        // A process that cannot even begin, or that the system ended, has nothing to say.
        let is_clean = ["ok", "unavailable", "closed", "nothing"].iter().any(|kind| says.starts_with(kind));
        assert!(is_clean, "{limit}: {:?}", ended.said);
        starved += u64::from(says != "ok");
        if let Ok(before) = ended.said("descriptors").parse::<u64>()
            && ended.status.success()
        {
            assert_eq!(ended.said("descriptors-after"), before.to_string(), "{limit}: a leak: {:?}", ended.said);
            counted += u64::from(says != "ok");
        }
        is_whole(&scene.open(), &scene.workload, &scene.side);
        is_alive(&scene.open(), &scene.workload, &scene.side);
    }
    (starved, counted)
}

/// Each process opens its store twenty times in vain, and has as many file descriptors as before.
///
/// Case F23.
#[test]
fn without_file_descriptors_a_store_says_so_and_works_when_it_has_them() {
    if is_child() {
        return;
    }
    let test = this_test!(without_file_descriptors_a_store_says_so_and_works_when_it_has_them);
    let (starved, counted) = starve(test, 20, (0..rounds(10)).map(|round| format!("--nofile={}", 5 + round % 12)));
    hit("too few file descriptors", starved);
    hit("file descriptors counted before and after", counted);
}

/// Case F56.
#[test]
fn without_memory_a_process_ends_and_its_store_is_whole() {
    if is_child() {
        return;
    }
    let test = this_test!(without_memory_a_process_ends_and_its_store_is_whole);
    let megabytes = [16, 24, 32, 40, 48, 64, 96].into_iter().cycle();
    let limits = megabytes.take(usize::try_from(rounds(7)).unwrap()).map(|mb: u64| format!("--as={}", mb << 20));
    hit("too little memory", starve(test, 1, limits).0);
}
