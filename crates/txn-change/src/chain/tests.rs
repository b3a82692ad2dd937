use super::*;

/// Tenant, id, digest and number of events.
type Row = (&'static str, &'static str, u8, u32);

const CHANGES: [Row; 3] = [("shop", "a", 1, 0), ("shop", "b", 2, 2), ("other", "a", 3, 1)];

fn group(changes: &[Row]) -> Group {
    let mut group = GroupDigest::default();
    for (tenant, id, digest, events) in changes {
        group.add(&Tenant::new(tenant).unwrap(), &ChangeId::new(*id).unwrap(), &[*digest; 32], *events);
    }
    group.finish()
}

#[test]
fn a_group_covers_tenants_ids_digests_and_their_order() {
    let whole = group(&CHANGES);
    assert_eq!((whole.changes, whole.events), (3, 3));
    let edits: [fn(&mut Vec<Row>); 8] = [
        |changes| changes[0].0 = "other",
        |changes| changes[1].1 = "c",
        |changes| changes[2].2 = 4,
        |changes| changes.swap(0, 1),
        |changes| changes.swap(1, 2),
        |changes| changes.truncate(2),
        |changes| changes.push(("shop", "d", 4, 0)),
        // The same letters, divided otherwise.
        |changes| (changes[0].0, changes[0].1) = ("sho", "pa"),
    ];
    for (n, edit) in edits.into_iter().enumerate() {
        let mut changes = CHANGES.to_vec();
        edit(&mut changes);
        assert_ne!(group(&changes).digest, whole.digest, "edit {n}");
    }
}

#[test]
fn a_link_covers_its_group_and_all_before_it() {
    let (first, second) = (group(&CHANGES[..1]), group(&CHANGES[1..]));
    let whole = Link::START.next(&first).next(&second);
    assert_eq!(whole.number, 2);
    let others = [
        Link::START.next(&second).next(&first),
        Link::START.next(&second),
        Link::START.next(&group(&CHANGES)),
        Link::START.next(&first).next(&Group { changes: 3, ..second }),
        Link::START.next(&first).next(&Group { events: 0, ..second }),
        Link { number: 2, ..Link::START }.next(&second),
    ];
    for (n, other) in others.iter().enumerate() {
        assert_ne!(other.hash, whole.hash, "other {n}");
    }
}

/// What a store holds is proven by later builds too.
#[test]
fn the_hash_of_a_link_stays_what_it_is() {
    let hash = Link::START.next(&group(&CHANGES)).hash;
    let hash: alloc::string::String = hash.iter().map(|byte| alloc::format!("{byte:02x}")).collect();
    assert_eq!(hash, "5c356183b0a4deed1f15ab00cf78568c3e8bd8c04183041d2861eccf427c780d");
}
