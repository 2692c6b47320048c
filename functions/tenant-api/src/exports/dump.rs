//! The writing of one export: every row of the tenant's, as of one moment.

use super::Job;
use super::row::Written;
use super::storage::{Draft, Storage};
use crate::problem::{self, Problem};
use crate::tables::Acting;
use futures::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use sqlx::AssertSqlSafe;

/// A table of `migrations/`.
#[derive(Debug)]
struct Table {
    name: &'static str,
    /// Its order, so that the same rows make the same file.
    key: &'static str,
    /// What leaves nobody's database: by a hash a password can be guessed at.
    withheld: &'static [&'static str],
}

/// What an export holds: all tables but `exports` itself and the migrator's own.
const TABLES: &[Table] = &[
    Table { name: "configuration", key: "key", withheld: &[] },
    Table { name: "system_roles", key: "name", withheld: &[] },
    Table { name: "users", key: "id", withheld: &["password_hash"] },
    Table { name: "dashboard_templates", key: "slug", withheld: &[] },
    Table { name: "invitations", key: "created_at, token_hash", withheld: &["token_hash"] },
];

/// Longest time that the rows may take to come. A call's own 30 s are for calls.
const WITHIN: &str = "SET LOCAL statement_timeout = '15min'";

/// One statement, and so one snapshot: what is changed meanwhile is in all of the tables or in none.
fn statement() -> String {
    let each = TABLES.iter().map(|Table { name, key, withheld }| {
        let withheld = withheld.iter().map(|column| format!("'{column}'")).collect::<Vec<_>>().join(", ");
        format!(
            "(SELECT json_build_object('table', '{name}', 'row', to_jsonb(t) - ARRAY[{withheld}]::text[])::text \
              FROM {name} t WHERE tenant_id = $1 ORDER BY {key})"
        )
    });
    each.collect::<Vec<_>>().join(" UNION ALL ")
}

/// Writes the export's file, which has its name only if all of it was written.
pub(super) async fn write(acting: &mut Acting, storage: &Storage, job: Job) -> Result<Written, Problem> {
    let mut draft = storage.draft(job.tenant_id, job.export_id).await?;
    match rows(acting, &mut draft, job).await {
        Ok(written) => draft.keep().await.map(|()| written),
        Err(problem) => {
            draft.discard().await;
            Err(problem)
        }
    }
}

async fn rows(acting: &mut Acting, draft: &mut Draft, job: Job) -> Result<Written, Problem> {
    let failed = |error: sqlx::Error| problem::from_sql("reading the tenant's rows", &error);
    sqlx::query(WITHIN).execute(&mut **acting).await.map_err(failed)?;
    let query = sqlx::query_scalar::<_, String>(AssertSqlSafe(statement())).bind(job.tenant_id.0);
    let mut lines = query.fetch(&mut **acting);
    let (mut rows, mut bytes, mut hash) = (0, 0, Sha256::new());
    while let Some(mut line) = lines.try_next().await.map_err(failed)? {
        line.push('\n');
        draft.write(line.as_bytes()).await?;
        hash.update(line.as_bytes());
        rows += 1;
        bytes += i64::try_from(line.len()).unwrap_or(i64::MAX);
    }
    Ok(Written { rows, bytes, sha256: hash.finalize().into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_table_of_the_migrations_is_in_an_export_or_left_out_on_purpose() {
        let migrator = sqlx::migrate!("./migrations");
        let texts: Vec<&str> = migrator.iter().map(|migration| migration.sql.as_str()).collect();
        let made: BTreeSet<&str> = texts
            .iter()
            .flat_map(|text| text.split("CREATE TABLE ").skip(1))
            .filter_map(|text| text.split_whitespace().next())
            .collect();
        let known: BTreeSet<&str> = TABLES.iter().map(|table| table.name).chain(["exports"]).collect();
        assert_eq!(made, known);
    }

    #[test]
    fn no_hash_of_a_secret_is_in_an_export() {
        let statement = statement();
        for column in ["password_hash", "token_hash"] {
            assert!(statement.contains(&format!("- ARRAY['{column}']")), "{statement}");
        }
    }
}
