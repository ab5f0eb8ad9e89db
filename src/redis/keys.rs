//! The one place that spells keys. Every key of a cell carries its hash tag `{cN}`, so that a Redis Cluster keeps a cell
//! on one master.

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde::Serialize;

use crate::engine::ids::CellId;

const DAY_MS: i64 = 86_400_000;

/// A business day, whose sales count together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SalesDay {
    /// `YYYY-MM-DD`.
    pub day: String,
    /// First ms of the day.
    pub starts: i64,
    /// First ms of the next day.
    pub ends: i64,
}

impl SalesDay {
    /// The day that `at` falls on in `zone`, shifted by whole days. Days may have 23 or 25 hours.
    pub fn of(at: Timestamp, zone: &TimeZone, shift_days: i64) -> Self {
        let day = at.to_zoned(zone.clone()).date().saturating_add(shift_days.days());
        let start = |date: jiff::civil::Date| {
            date.to_zoned(zone.clone()).map_or(0, |midnight| midnight.timestamp().as_millisecond())
        };
        Self { day: day.to_string(), starts: start(day), ends: start(day.saturating_add(1.day())) }
    }
}

/// Keys of one cell.
#[derive(Clone, Debug)]
pub struct CellKeys {
    prefix: String,
}

impl CellKeys {
    /// `namespace` separates services that share one Redis.
    pub fn new(namespace: &str, cell: CellId) -> Self {
        Self { prefix: format!("{namespace}:{{c{cell}}}:") }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Epoch, run id, sequence number and the like.
    pub fn meta(&self) -> String {
        self.key("meta")
    }

    /// The stream of events.
    pub fn log(&self) -> String {
        self.key("log")
    }

    /// User → account.
    pub fn accounts(&self) -> String {
        self.key("accounts")
    }

    /// User and product → units bought, for products with a limit.
    pub fn bought(&self) -> String {
        self.key("bought")
    }

    /// Product → available units.
    pub fn stock(&self) -> String {
        self.key("stock")
    }

    /// Product → name, price and so on.
    pub fn catalog(&self) -> String {
        self.key("catalog")
    }

    /// Coupon → terms and how many are left.
    pub fn coupons(&self) -> String {
        self.key("coupons")
    }

    /// User → the coupons that he holds.
    pub fn wallets(&self) -> String {
        self.key("wallets")
    }

    /// User → what is in his cart.
    pub fn carts(&self) -> String {
        self.key("carts")
    }

    /// Order or charge that is not finished → its last event.
    pub fn open(&self) -> String {
        self.key("open")
    }

    /// The same → when somebody must look at it.
    pub fn due(&self) -> String {
        self.key("due")
    }

    /// Product → how many wait for it to come back; user and product → since which round.
    pub fn restock(&self) -> String {
        self.key("restock")
    }

    /// User and key → fingerprint and outcome; `day` counts UTC days since 1970.
    pub fn idem(&self, day: i64) -> String {
        self.key(&format!("idem:{day}"))
    }

    /// Product → units sold on a business day.
    pub fn sales(&self, day: &str) -> String {
        self.key(&format!("sales:{day}"))
    }
}

/// KEYS of a batch and what ARGV says about them, valid for a sender whose clock is within a day of Redis'.
#[derive(Clone, Debug)]
pub struct BatchKeys {
    /// In the order that `lua/apply.lua` documents.
    pub keys: Vec<String>,
    /// First of the four days of idempotency keys.
    pub first_idem_day: i64,
    /// The day before yesterday to tomorrow.
    pub sales_days: [SalesDay; 4],
    /// When the lists must be made anew, ms since 1970.
    valid_until: i64,
}

impl BatchKeys {
    /// The keys around `now`.
    pub fn new(cell: &CellKeys, zone: &TimeZone, now: Timestamp) -> Self {
        let now_ms = now.as_millisecond();
        let first_idem_day = now_ms.div_euclid(DAY_MS) - 2;
        let sales_days = [-2, -1, 0, 1].map(|shift| SalesDay::of(now, zone, shift));
        let mut keys = vec![cell.meta(), cell.log(), cell.accounts(), cell.bought(), cell.stock(), cell.catalog()];
        keys.extend([cell.coupons(), cell.wallets(), cell.carts(), cell.open(), cell.due(), cell.restock()]);
        keys.extend((0..4).map(|i| cell.idem(first_idem_day + i)));
        keys.extend(sales_days.iter().map(|day| cell.sales(&day.day)));
        let valid_until = sales_days[2].ends.min((first_idem_day + 3) * DAY_MS);
        Self { keys, first_idem_day, sales_days, valid_until }
    }

    /// Whether the day has changed since.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        now.as_millisecond() >= self.valid_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn business_days_follow_the_zone_and_its_clock_changes() {
        let seoul = TimeZone::get("Asia/Seoul").expect("a zone");
        let at: Timestamp = "2026-11-20T15:00:00Z".parse().expect("a time");
        assert_eq!(SalesDay::of(at, &seoul, 0).day, "2026-11-21");
        assert_eq!(SalesDay::of(at, &seoul, 0).starts, at.as_millisecond());
        let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
        let at: Timestamp = "2026-10-25T12:00:00Z".parse().expect("a time");
        let day = SalesDay::of(at, &berlin, 0);
        assert_eq!(day.ends - day.starts, 25 * 3_600_000);
        assert_eq!(SalesDay::of(at, &berlin, 1).starts, day.ends);
    }

    #[test]
    fn every_key_of_a_cell_has_its_tag() {
        let cell = CellKeys::new("ns", CellId::new(3).expect("a cell"));
        let keys = BatchKeys::new(&cell, &TimeZone::UTC, Timestamp::UNIX_EPOCH);
        assert_eq!(keys.keys.len(), 20);
        assert!(keys.keys.iter().all(|key| key.starts_with("ns:{c3}:")));
    }
}
