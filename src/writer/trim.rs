//! How much of the log PostgreSQL's copy makes superfluous. The log is kept for `log_keep_ms` behind the commits (an
//! order is found there while PostgreSQL is away), but no more than `log_keep_bytes_max`.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Client;

use super::WriterError;
use super::log_reader::LogBatch;
use crate::config::Config;
use crate::engine::ids::CellId;

/// Rows read at once when a writer starts.
const PAGE_ROWS: i64 = 1_000;

/// Decides what may be trimmed.
#[derive(Debug)]
pub(super) struct Trimmer {
    keep: Duration,
    bytes_max: u64,
    /// Committed entries: when, the sequence number after them, their bytes. Oldest first.
    kept: VecDeque<(Timestamp, u64, u64)>,
    bytes: u64,
    /// Everything below may go.
    trim_below: u64,
}

impl Trimmer {
    /// Goes on where an earlier writer was: `event_log` knows when entries were committed.
    pub(super) async fn load(client: &Client, cell: CellId, config: &Config) -> Result<Self, WriterError> {
        let mut trimmer = Self {
            keep: config.log_keep_ms,
            bytes_max: config.log_keep_bytes_max,
            kept: VecDeque::new(),
            bytes: 0,
            trim_below: 0,
        };
        // Backwards by the primary key, page by page: the table grows for ever, and has no index by time.
        let now = Timestamp::now();
        let (mut before, mut entries) = (i64::MAX, Vec::new());
        'pages: loop {
            let rows = client
                .query(
                    "SELECT created_at, seq, last_seq + 1, octet_length(events)::bigint FROM event_log \
                     WHERE cell = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3",
                    &[&cell.as_i16(), &before, &PAGE_ROWS],
                )
                .await?;
            for row in &rows {
                let unsigned = |value: i64| u64::try_from(value).unwrap_or_default();
                let (at, next_seq): (Timestamp, u64) = (row.get(0), unsigned(row.get(2)));
                if age(now, at) >= trimmer.keep {
                    // This and what is older is past its time.
                    trimmer.trim_below = next_seq;
                    break 'pages;
                }
                entries.push((at, next_seq, unsigned(row.get(3))));
            }
            match rows.last() {
                Some(row) => before = row.get(1),
                None => break,
            }
        }
        for (at, next_seq, bytes) in entries.into_iter().rev() {
            trimmer.keep_entry(at, next_seq, bytes);
        }
        Ok(trimmer)
    }

    /// Notes a commit.
    pub(super) fn committed(&mut self, batch: &LogBatch) {
        let now = Timestamp::now();
        for entry in &batch.entries {
            self.keep_entry(now, entry.last_seq + 1, entry.events.len() as u64);
        }
    }

    fn keep_entry(&mut self, at: Timestamp, next_seq: u64, bytes: u64) {
        self.kept.push_back((at, next_seq, bytes));
        self.bytes += bytes;
    }

    /// Everything below this sequence number may go; 0: nothing.
    pub(super) fn trim_below(&mut self) -> u64 {
        let now = Timestamp::now();
        while let Some((at, next_seq, bytes)) = self.kept.front() {
            if age(now, *at) < self.keep && self.bytes <= self.bytes_max {
                break;
            }
            self.trim_below = self.trim_below.max(*next_seq);
            self.bytes -= bytes;
            self.kept.pop_front();
        }
        self.trim_below
    }
}

fn age(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(at)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_go_by_age_and_by_bytes_oldest_first() {
        let mut trimmer =
            Trimmer { keep: Duration::from_mins(10), bytes_max: 250, kept: VecDeque::new(), bytes: 0, trim_below: 0 };
        let now = Timestamp::now();
        trimmer.keep_entry(now - Duration::from_secs(700), 11, 100);
        trimmer.keep_entry(now, 21, 100);
        trimmer.keep_entry(now, 31, 100);
        assert_eq!(trimmer.trim_below(), 11, "too old");
        trimmer.keep_entry(now, 41, 100);
        assert_eq!(trimmer.trim_below(), 21, "too many bytes");
        assert_eq!(trimmer.trim_below(), 21);
    }
}
