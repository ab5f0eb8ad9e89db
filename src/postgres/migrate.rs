//! Migrations from `sql/migrations`, by refinery, under an advisory lock: refinery takes none itself, and two instances
//! may start at once.

use anyhow::Context;

use crate::config::Secret;

mod embedded {
    refinery::embed_migrations!("sql/migrations");
}

/// Key of the advisory lock; any number nobody else uses.
const MIGRATION_LOCK: i64 = 0x666c_6173_6801;

/// Brings the schema up to date and returns the names of the migrations that were applied.
pub async fn migrate(url: &Secret) -> anyhow::Result<Vec<String>> {
    let mut client = super::connect(url, None).await?;
    client
        .execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK])
        .await
        .context("waiting for the migration lock")?;
    let report = embedded::migrations::runner().run_async(&mut client).await.context("migrating")?;
    client.execute("SELECT pg_advisory_unlock($1)", &[&MIGRATION_LOCK]).await?;
    Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
}
