//! What people are to be told, once for as long as it goes on. Whoever sees a reason raises the alert, and clears it when the
//! reason is gone; the notifier tells.

use tokio_postgres::{Error, GenericClient};

/// Why people are alerted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertKind {
    /// There are dead letters. The subject is the sink.
    DeadLetters,
    /// Orders or charges wait for the payment gateway for too long. The subject is empty.
    OrdersHeld,
}

impl AlertKind {
    /// As PostgreSQL and the webhook spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeadLetters => "DEAD_LETTERS",
            Self::OrdersHeld => "ORDERS_HELD",
        }
    }
}

/// Notes that people are to be told, unless they are or were: what goes on is not told again.
pub async fn raise(client: &impl GenericClient, kind: AlertKind, subject: &str) -> Result<(), Error> {
    client.execute(include_str!("../../sql/notifier/raise.sql"), &[&kind.as_str(), &subject]).await?;
    Ok(())
}

/// Notes that the reason is gone: the next time it is told again.
pub async fn clear(client: &impl GenericClient, kind: AlertKind, subject: &str) -> Result<(), Error> {
    let sql = "UPDATE alerts SET cleared_at = now(), updated_at = now() \
               WHERE kind = $1 AND subject = $2 AND cleared_at IS NULL";
    client.execute(sql, &[&kind.as_str(), &subject]).await?;
    Ok(())
}

/// Clears the alert of a sink's dead letters when there are none any more.
///
/// Belongs into a transaction, and [`raise`] into that of the dead letters: then none can come unseen while this looks. Both
/// lock the alert, and this looks at what is there in a statement of its own, when it has the lock.
pub async fn clear_dead_letters(client: &impl GenericClient, sink: &str) -> Result<(), Error> {
    let lock = "SELECT FROM alerts WHERE kind = $1 AND subject = $2 AND cleared_at IS NULL FOR UPDATE";
    if client.query_opt(lock, &[&AlertKind::DeadLetters.as_str(), &sink]).await?.is_some() {
        client.execute(include_str!("../../sql/notifier/clear_dead_letters.sql"), &[&sink]).await?;
    }
    Ok(())
}
