//! Columns of what a group writes, as lists that a statement binds.

use txn_change::Lanes;

use super::super::{statement::Statement, values::Lane};

/// A list as it is named in the statement, the type of what is in it, and its column.
pub(super) type List = (String, &'static str, String);

/// The lanes that are not zero in all of these rows. The others are written as a constant, which costs the server nothing to unpack; a shop uses some lanes and never the others, so that there are few
/// such statements.
pub(super) fn used(rows: impl Iterator<Item = Lanes>) -> [bool; 4] {
    let mut used = [false; 4];
    for lanes in rows {
        used.iter_mut().zip(lanes.0).for_each(|(used, lane)| *used |= lane != 0);
    }
    used
}

/// Lists of the lanes that are used, as columns `u.NAME0` to `u.NAME3`, and what stands for the four lanes in the statement; as 64 bits where all of them fit, which the server unpacks in half the time.
pub(super) fn bind_lanes(
    s: &mut Statement,
    lists: &mut Vec<List>,
    name: &str,
    used: [bool; 4],
    rows: impl Iterator<Item = Lanes> + Clone,
) -> [String; 4] {
    let is_small = rows.clone().all(|lanes| lanes.0.iter().all(|lane| i64::try_from(*lane).is_ok()));
    let mut lane = 0usize;
    used.map(|is_used| {
        let of = |lanes: Lanes| lanes.0.get(lane).copied().unwrap_or(0);
        let column = format!("{name}{lane}");
        let stands = if is_used { format!("u.{column}") } else { "0".to_owned() };
        if is_used && is_small {
            let small = rows.clone().map(|lanes| i64::try_from(of(lanes)).unwrap_or_default());
            lists.push((s.bind(small.collect::<Vec<i64>>()), "int8", column));
        } else if is_used {
            lists.push((s.bind(rows.clone().map(|lanes| Lane(of(lanes))).collect::<Vec<Lane>>()), "numeric", column));
        }
        lane = lane.saturating_add(1);
        stands
    })
}

/// Lists with their types and names.
pub(super) fn named(lists: Vec<String>, types: &[&'static str], names: &[&str]) -> Vec<List> {
    let typed = lists.into_iter().zip(types).zip(names);
    typed.map(|((list, of), name)| (list, *of, (*name).to_owned())).collect()
}

/// Lists with their types and names side by side as a table `u`.
pub(super) fn unnest_named(lists: &[List]) -> String {
    let columns: Vec<String> = lists.iter().map(|(list, of, name)| format!("unnest({list}::{of}[]) {name}")).collect();
    format!("(SELECT {}) u", columns.join(", "))
}

/// Lists side by side as a table. They are unpacked where columns stand and not as a table of `FROM`, for which the server would first keep a copy of each list apart.
pub(super) fn unnest(lists: &[String], types: &[&str]) -> String {
    let columns: Vec<String> = lists.iter().zip(types).map(|(list, of)| format!("unnest({list}::{of}[])")).collect();
    format!("(SELECT {})", columns.join(", "))
}
