use super::*;

const SMALL: Size = Size { memory: 1_000, stored: 512, backlog: 2_000, held: Duration::ZERO, overload: Duration::ZERO };

#[test]
fn every_measurement_of_a_small_run_in_memory_is_a_number_above_zero() {
    let measurements = in_memory(1, SMALL).unwrap();
    let names: Vec<&str> = measurements.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names.len(), 11, "{names:?}");
    assert!(measurements.iter().all(|m| m.ours.len() == 1 && m.ours[0] > 0.0), "{names:?}");
}

/// Story: a driver that counts what it claimed, and not what was settled, would call a queue fast that loses every settlement.
#[test]
fn what_is_driven_is_settled_whatever_the_tasks() {
    let runtime = callers::runtime();
    for (batch, workers, keyed) in [(32, 1, Keyed::No), (256, 4, Keyed::Yes)] {
        let ours = runtime.block_on(Ours::open(Backend::Memory, "", MESSAGES_MAX)).unwrap();
        let mut values = Values::default();
        claims(&runtime, &ours, OURS, (batch, workers, keyed), 2_000, &mut values).unwrap();
        side::flow(&runtime, &ours, (2, workers), batch, &messages(2_000, keyed)).unwrap();
        runtime.block_on(ours.is_empty()).unwrap();
        let stats = runtime.block_on(ours.queue.stats()).unwrap();
        let acked: u64 = stats.topics.values().flat_map(|topic| topic.groups.values()).map(|group| group.acked).sum();
        assert_eq!(acked, 4_000);
    }
}
