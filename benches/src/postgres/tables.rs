//! What both peers share: the tables, their accounts, and a session's settings.

use sqlx::{Connection, Executor, PgConnection};

use super::server::Server;
use crate::rows::{GUARDS, accounts};

/// The tables that a change of ours goes to, with the same columns, the same unique indexes and the same room on their pages, for hands that know they need no more:
/// tickets come from a sequence, and nobody chains them.
const TABLES: &str = r#"
CREATE TABLE change(
    ticket bigserial NOT NULL, at integer NOT NULL, tenant integer NOT NULL, entries integer NOT NULL, events integer NOT NULL,
    schema integer NOT NULL, format smallint NOT NULL, recorded_at bigint NOT NULL, id text COLLATE "C" NOT NULL, fingerprint bytea NOT NULL,
    digest bytea NOT NULL, type text COLLATE "C" NOT NULL, answer bytea NOT NULL, PRIMARY KEY (ticket, at), UNIQUE (tenant, id)
);
CREATE TABLE counter(
    no bigint PRIMARY KEY, tenant integer NOT NULL, class integer NOT NULL, status smallint NOT NULL, version bigint NOT NULL,
    sequence bigint NOT NULL, key bytea NOT NULL, unit text COLLATE "C" NOT NULL, guards text COLLATE "C" NOT NULL,
    l0 numeric(39) NOT NULL, l1 numeric(39) NOT NULL, l2 numeric(39) NOT NULL, l3 numeric(39) NOT NULL, UNIQUE (tenant, key)
) WITH (fillfactor = 85);
CREATE TABLE entry(
    counter bigint NOT NULL, sequence bigint NOT NULL, ticket bigint NOT NULL, at integer NOT NULL, ord integer NOT NULL,
    effective_at bigint NOT NULL, short boolean NOT NULL, label text COLLATE "C" NOT NULL,
    d0 numeric(39) NOT NULL, d1 numeric(39) NOT NULL, d2 numeric(39) NOT NULL, d3 numeric(39) NOT NULL,
    a0 numeric(39) NOT NULL, a1 numeric(39) NOT NULL, a2 numeric(39) NOT NULL, a3 numeric(39) NOT NULL, PRIMARY KEY (counter, sequence)
);
CREATE TABLE event(
    ticket bigint NOT NULL, ord integer NOT NULL, at integer NOT NULL, tenant integer NOT NULL, schema integer NOT NULL,
    format smallint NOT NULL, fact text COLLATE "C", subject bytea, type text COLLATE "C" NOT NULL, terms bytea NOT NULL,
    body bytea NOT NULL, PRIMARY KEY (ticket, ord)
);
CREATE UNIQUE INDEX fact_once ON event(tenant, fact) WHERE fact IS NOT NULL;
CREATE TABLE event_term(
    tenant integer NOT NULL, term bytea NOT NULL, ticket bigint NOT NULL, ord integer NOT NULL, PRIMARY KEY (tenant, term, ticket, ord)
);
"#;

/// Accounts with their funds. The debits have their credits on one more account, as the openings of ours leave it.
const INSERT_COUNTERS: &str = "INSERT INTO counter(no, tenant, class, status, version, sequence, key, unit, guards, l0, l1, l2, l3) \
    SELECT u.no, 1, 1, 0, 1, 0, u.key, 'USD', $3, 0, u.funds, 0, 0 FROM unnest($1::int8[], $2::bytea[], $4::int8[]) u(no, key, funds) \
    UNION ALL SELECT 0, 1, 1, 0, 1, 0, 'ledger/equity/USD'::bytea, 'USD', '[null,null]', 0, 0, 0, sum(funds) FROM unnest($4::int8[]) funds";

/// The peers' schema, new, with its accounts.
pub(super) async fn create(server: &Server) -> sqlx::Result<()> {
    server.fresh(super::PEER).await?;
    let mut session = PgConnection::connect_with(&server.session(super::PEER)).await?;
    session.execute(TABLES).await?;
    let (mut numbers, mut keys, mut funds) = (Vec::new(), Vec::new(), Vec::new());
    for (number, key, fund) in accounts() {
        numbers.push(number);
        keys.push(key);
        funds.push(fund);
    }
    let insert = sqlx::query(INSERT_COUNTERS).bind(numbers).bind(keys).bind(GUARDS).bind(funds);
    insert.execute(&mut session).await?;
    // So that the planner knows the accounts from the first statement on.
    session.execute("VACUUM (ANALYZE) counter").await?;
    session.close().await
}
