//! Store URLs: `memory:`, `sqlite:PATH` and `postgres://…`.

use std::{path::PathBuf, sync::Arc};

use txn::store::{StoreAdmin, memory::Memory, postgres::Postgres, sqlite::Sqlite};

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// In memory, for as long as the process lives.
    Memory,
    /// In a file.
    Sqlite(PathBuf),
    /// In the schema `txn` of a database.
    Postgres(String),
}

/// Whether a store may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Make it.
    Create,
    /// It is an error.
    Refuse,
}

impl StoreUrl {
    /// Reads a URL.
    ///
    /// ```
    /// use storefront::open::StoreUrl;
    /// assert_eq!(StoreUrl::parse("memory:"), Ok(StoreUrl::Memory));
    /// assert!(StoreUrl::parse("mysql://shop").is_err());
    /// ```
    ///
    /// # Errors
    /// A line that says what is allowed.
    pub fn parse(url: &str) -> Result<Self, String> {
        if url == "memory:" {
            return Ok(Self::Memory);
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(url.to_owned()));
        }
        match url.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
            _ => Err(format!("{url:?} is no store; use memory:, sqlite:PATH or postgres://USER@HOST/DATABASE")),
        }
    }

    /// Opens the store.
    ///
    /// # Errors
    /// A line that says why it cannot be opened, or that there is none.
    pub async fn open(&self, missing: Missing) -> Result<Arc<dyn StoreAdmin>, String> {
        match (self, missing) {
            (Self::Memory, Missing::Create) => Ok(Arc::new(Memory::new())),
            (Self::Memory, Missing::Refuse) => {
                Err("memory: holds nothing when a process begins; name a store that was written, sqlite:PATH or postgres://…".into())
            }
            (Self::Postgres(url), missing) => {
                let options = Postgres::options(url).map_err(|error| error.to_string())?;
                let options = if missing == Missing::Refuse { options.must_exist() } else { options };
                Ok(Arc::new(options.open().await.map_err(|error| error.to_string())?))
            }
            (Self::Sqlite(path), missing) => {
                // A file without a byte is one that was killed before it became a store.
                let is_there = std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 0);
                if missing == Missing::Refuse && !is_there {
                    return Err(format!("there is no store at {}", path.display()));
                }
                Ok(Arc::new(Sqlite::open(path).map_err(|error| format!("{}: {error}", path.display()))?))
            }
        }
    }
}
