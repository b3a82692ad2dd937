//! The server: how it is reached, what it must be set to, and fresh schemas on it.

use std::str::FromStr;

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, postgres::PgConnectOptions, raw_sql};

/// A server that makes commits durable.
#[derive(Clone)]
pub(crate) struct Server {
    /// With a password in it: for children and stores, not for people.
    pub(crate) url: String,
    options: PgConnectOptions,
    /// Its version and what it was told, for people.
    pub(crate) name: String,
}

impl Server {
    /// Reaches the server; one that does not flush is refused, since a commit there costs nothing.
    pub(crate) async fn reach(url: &str) -> Result<Self, String> {
        // What is wrong with it is not repeated: a URL holds a password.
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| "the URL is not of the form postgres://user:password@host/database".to_owned())?
            .disable_statement_logging();
        let ask = async {
            let mut session = PgConnection::connect_with(&options).await?;
            let mut told = Vec::new();
            for setting in ["server_version", "fsync", "synchronous_commit", "shared_buffers", "max_wal_size"] {
                let value: String =
                    sqlx::query_scalar("SELECT current_setting($1)").bind(setting).fetch_one(&mut session).await?;
                told.push((setting, value));
            }
            session.close().await?;
            Ok(told)
        };
        let told = ask.await.map_err(|error: sqlx::Error| format!("the server: {error}"))?;
        if let Some((setting, value)) = told.iter().find(|(setting, value)| {
            *setting == "fsync" && value != "on" || *setting == "synchronous_commit" && value == "off"
        }) {
            return Err(format!(
                "the server has {setting} = {value}, so that a commit is not durable and costs nothing"
            ));
        }
        let name = told.iter().map(|(setting, value)| format!("{setting} {value}")).collect::<Vec<_>>().join(", ");
        Ok(Self { url: url.into(), options, name })
    }

    /// A session's settings in a schema of the runner.
    pub(crate) fn session(&self, schema: &'static str) -> PgConnectOptions {
        self.options
            .clone()
            .options([("search_path", schema), ("synchronous_commit", "on")])
            .application_name("txn-bench")
    }

    /// Makes the schema anew, and lets the server write out what it still has to from before, where the login may ask for that.
    pub(crate) async fn fresh(&self, schema: &'static str) -> sqlx::Result<()> {
        let mut session = self.drop(schema).await?;
        raw_sql(AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).execute(&mut session).await?;
        // Only a superuser, or a member of pg_checkpoint, may.
        let _ = session.execute("CHECKPOINT").await;
        session.close().await
    }

    /// Makes a database of the runner anew, for what cannot be told a schema; the login must be allowed to. What the server still had to write is written.
    pub(crate) async fn fresh_database(&self, name: &'static str) -> sqlx::Result<Self> {
        self.drop_database(name).await?;
        let mut session = PgConnection::connect_with(&self.options).await?;
        raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut session).await?;
        // Only a superuser, or a member of pg_checkpoint, may.
        let _ = session.execute("CHECKPOINT").await;
        session.close().await?;
        let options = self.options.clone().database(name);
        Ok(Self { url: options.to_url_lossy().to_string(), options, name: self.name.clone() })
    }

    /// Leaves nothing behind of it, whoever is in it.
    pub(crate) async fn drop_database(&self, name: &'static str) -> sqlx::Result<()> {
        let options = self.options.clone().options([("client_min_messages", "warning")]);
        let mut session = PgConnection::connect_with(&options).await?;
        raw_sql(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))).execute(&mut session).await?;
        session.close().await
    }

    /// Leaves nothing behind.
    pub(crate) async fn clear(&self, schema: &'static str) -> sqlx::Result<()> {
        self.drop(schema).await?.close().await
    }

    async fn drop(&self, schema: &'static str) -> sqlx::Result<PgConnection> {
        let mut session =
            PgConnection::connect_with(&self.options.clone().options([("client_min_messages", "warning")])).await?;
        raw_sql(AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {schema} CASCADE"))).execute(&mut session).await?;
        Ok(session)
    }
}
