//! Installing views: one process at a time, one thing per transaction.
//!
//! A comment on each thing ends with its digest, so that no table of ours remembers it, and people see what the thing is. Each thing is made in a transaction of its own: a lock
//! on one table is never kept while another is waited for, so that commits and this cannot wait for each other. A process that dies on the way leaves
//! some things for the next.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, query, raw_sql};

use super::{connect::failed, schema::Schema};
use crate::{
    error::{Error, ErrorKind},
    views::{PREFIX, Wanted, columns},
};

/// What is there, by kind: functions and indexes of ours by their names, views whoever made them. The comment is empty when there is none.
const INSTALLED: &str = "
SELECT 'FUNCTION', p.proname::text, coalesce(obj_description(p.oid, 'pg_proc'), ''), pg_get_function_identity_arguments(p.oid)
    FROM pg_proc p WHERE p.pronamespace = to_regnamespace(quote_ident($1)) AND starts_with(p.proname, $2)
UNION ALL
SELECT CASE c.relkind WHEN 'i' THEN 'INDEX' WHEN 'v' THEN 'VIEW' ELSE 'RELATION' END, c.relname::text, coalesce(obj_description(c.oid, 'pg_class'), ''), NULL
    FROM pg_class c WHERE c.relnamespace = to_regnamespace(quote_ident($1)) AND (c.relkind <> 'i' OR starts_with(c.relname, $2))";

/// How long one thing may wait for its table. Whoever writes that table waits behind it.
const LOCK_MAX: &str = "SET lock_timeout = '2s'";

/// A thing to make: the statements that make it and that say what it is, and its digest.
struct Thing {
    kind: &'static str,
    make: String,
    /// When it cannot be made in place of what is there.
    drop: String,
    describe: String,
    digest: String,
}

/// What to do, in this order: views are dropped before, and functions after, what may need them.
#[derive(Default)]
struct Plan {
    before: Vec<String>,
    make: Vec<Thing>,
    after: Vec<String>,
}

/// Whether anything is to be done. Asked before the lock is taken: a process that starts when all is current waits for nobody.
pub(super) async fn is_current(session: &mut PgConnection, schema: &Schema, wanted: &Wanted) -> Result<bool, Error> {
    let plan = plan(session, schema, wanted).await?;
    Ok(plan.before.is_empty() && plan.make.is_empty() && plan.after.is_empty())
}

/// Makes the schema hold exactly these views. The session is not to be used for anything else.
pub(super) async fn install(mut session: PgConnection, schema: &Schema, wanted: &Wanted) -> Result<(), Error> {
    // Building an index over what is stored takes as long as it takes, and so does waiting for the process that is at it.
    run(&mut session, "SET statement_timeout = 0; SET lock_timeout = 0").await?;
    // The session's own lock: it ends with the session, however this ends.
    let lock = query("SELECT pg_advisory_lock($1)").bind(schema.lock("views"));
    lock.execute(&mut session).await.map_err(refused)?;
    run(&mut session, LOCK_MAX).await?;
    let plan = plan(&mut session, schema, wanted).await?;
    for statement in &plan.before {
        run(&mut session, statement).await?;
    }
    for thing in &plan.make {
        // Statements that are sent as one are one transaction.
        let made = run(&mut session, &format!("{}; {}", thing.make, thing.describe)).await;
        if made.is_err() && thing.kind == "VIEW" {
            // Other columns: it is made anew, and nobody sees it missing. Rights that were given on it are lost.
            run(&mut session, &format!("{}; {}; {}", thing.drop, thing.make, thing.describe)).await?;
        } else {
            made?;
        }
    }
    for statement in &plan.after {
        run(&mut session, statement).await?;
    }
    session.close().await.map_err(refused)
}

async fn run(session: &mut PgConnection, statements: &str) -> Result<(), Error> {
    raw_sql(AssertSqlSafe(statements.to_owned())).execute(session).await.map(|_| ()).map_err(refused)
}

/// The error for what the server said. That something by others hangs on a view is theirs to mend.
fn refused(error: sqlx::Error) -> Error {
    let is_needed = error.as_database_error().and_then(|said| said.code()).is_some_and(|code| code == "2BP01");
    let error = failed("installing the views")(error);
    if is_needed {
        let context = "installing the views: something by others is made from one that must go";
        return Error::new(ErrorKind::Invalid, context).because(error);
    }
    error
}

async fn plan(session: &mut PgConnection, schema: &Schema, wanted: &Wanted) -> Result<Plan, Error> {
    let doing = failed("reading the views");
    let things = things(schema, wanted);
    let rows = query(INSTALLED).bind(schema.name()).bind(PREFIX).fetch_all(session).await.map_err(&doing)?;
    let mut current: Vec<String> = Vec::new();
    let mut plan = Plan::default();
    for row in rows {
        let name: String = row.try_get(1).map_err(&doing)?;
        let (kind, comment): (&str, &str) = (row.try_get(0).map_err(&doing)?, row.try_get(2).map_err(&doing)?);
        let is_ours = kind != "RELATION" && (name.starts_with(PREFIX) || comment.contains("[txn "));
        let thing = things.get(&name);
        if thing.is_some_and(|thing| thing.kind != kind || !is_ours) {
            let context =
                format!("cannot install {name}: the schema holds a {} of that name by others", kind.to_lowercase());
            return Err(Error::new(ErrorKind::Invalid, context));
        }
        if !is_ours {
            continue;
        }
        let is_current = thing.is_some_and(|thing| comment.ends_with(&thing.digest));
        let quoted = format!("{}.\"{}\"", schema.quoted(), name.replace('"', "\"\""));
        match (kind, thing.is_some()) {
            _ if is_current => current.push(name),
            ("INDEX", _) => plan.before.push(format!("DROP INDEX {quoted}")),
            // Made again in place, so that rights that were given stay.
            (_, true) => {}
            ("FUNCTION", false) => {
                let arguments: &str = row.try_get(3).map_err(&doing)?;
                plan.after.push(format!("DROP FUNCTION {quoted}({arguments})"));
            }
            (_, false) => plan.before.push(format!("DROP VIEW {quoted}")),
        }
    }
    plan.make = things.into_iter().filter(|(name, _)| !current.contains(name)).map(|(_, thing)| thing).collect();
    // What is called comes before what calls it.
    plan.make.sort_by_key(|thing| ["FUNCTION", "INDEX", "VIEW"].iter().position(|kind| *kind == thing.kind));
    Ok(plan)
}

fn things(schema: &Schema, wanted: &Wanted) -> BTreeMap<String, Thing> {
    let s = schema.quoted();
    let place = |text: &str| text.replace("$s.", &format!("{s}."));
    let mut things = BTreeMap::new();
    let mut add = |kind: &'static str, name: &str, digest: &str, make: String, meaning: &str| {
        let (name_there, mark) = (format!("{s}.{name}"), format!("[txn {digest}]"));
        let describe = format!("COMMENT ON {kind} {name_there} IS '{}{mark}'", quoted(meaning));
        let thing = Thing { kind, make, drop: format!("DROP {kind} {name_there}"), describe, digest: mark };
        things.insert(name.to_owned(), thing);
    };
    for (name, (text, digest)) in &wanted.functions {
        add("FUNCTION", name, digest, format!("CREATE OR REPLACE FUNCTION {s}.{name}{}", place(text)), "");
    }
    for (name, (text, digest)) in &wanted.indexes {
        add("INDEX", name, digest, format!("CREATE INDEX {name} ON {}", place(text)), "");
    }
    for (name, (view, digest)) in &wanted.views {
        let select = place(view.postgres.select);
        let make = format!("CREATE OR REPLACE VIEW {s}.{name}({}) AS {select}", columns(view));
        add("VIEW", name, digest, make, &format!("{} ", view.meaning));
    }
    for (name, (view, _)) in &wanted.views {
        if let Some(thing) = things.get_mut(*name) {
            thing.describe.extend(view.columns.iter().map(|column| {
                format!("; COMMENT ON COLUMN {s}.{name}.{} IS '{}'", column.name, quoted(column.meaning))
            }));
        }
    }
    things
}

fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}
