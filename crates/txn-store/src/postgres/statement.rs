//! A statement whose parts depend on what a group touches: text and arguments grow together, and a part that has no rows is left out.
//!
//! Only text of this crate gets into a statement; values are always bound.

use sqlx::Arguments;
use sqlx::{AssertSqlSafe, Encode, Postgres, Type, postgres::PgArguments, query::Query, query_with};

/// A statement that grows.
#[derive(Default)]
pub(super) struct Statement {
    text: String,
    arguments: PgArguments,
    count: usize,
    parts: usize,
}

impl Statement {
    /// Binds a value and gives its name in the text, such as `$7`.
    pub(super) fn bind<'q, T: Encode<'q, Postgres> + Type<Postgres> + 'q>(&mut self, value: T) -> String {
        // Only what a serialiser of our own refuses could fail here, and none does.
        let added = self.arguments.add(value);
        debug_assert!(added.is_ok());
        self.count = self.count.saturating_add(1);
        format!("${}", self.count)
    }

    /// Adds a part of a list that begins with `first` and goes on with `next`.
    pub(super) fn part(&mut self, first: &str, next: &str, text: &str) {
        self.text.push_str(if self.parts == 0 { first } else { next });
        self.text.push_str(text);
        self.parts = self.parts.saturating_add(1);
    }

    /// Adds text as it is.
    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Ready to be run. Its text is one of few, so that sessions keep it prepared.
    pub(super) fn query(self) -> Query<'static, Postgres, PgArguments> {
        query_with(AssertSqlSafe(self.text), self.arguments)
    }
}
