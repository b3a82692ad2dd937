//! The documentation names every view, column, type and index.

use txn::views;

#[test]
fn the_documentation_is_complete() {
    let text = include_str!("../../../../../docs/views.md");
    for view in views::all() {
        let part = text.split(&format!("\n## `{}`\n", view.name)).nth(1);
        let part = part.unwrap_or_else(|| panic!("no part about {}", view.name)).split("\n## ").next().unwrap();
        for column in view.columns {
            let postgres = column.postgres.replace("timestamp with time zone", "timestamptz");
            let row =
                format!("| `{}` | {postgres} | {} | {} |", column.name, column.sqlite.to_lowercase(), column.meaning);
            assert!(part.contains(&row), "{} lacks: {row}", view.name);
        }
        for index in view.postgres.indexes.iter().chain(view.sqlite.indexes) {
            assert!(text.contains(index.name), "{} is not told", index.name);
        }
    }
}
