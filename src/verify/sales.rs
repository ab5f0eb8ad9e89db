//! The rankings: per business day, product → units sold, less those that were refunded.

use std::collections::{BTreeSet, HashMap};

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan, tz::TimeZone};

use super::books::{Books, signed};
use super::findings::Findings;
use super::report::Kind;
use crate::postgres::DatabaseError;

/// Counted back from tomorrow in UTC. The last 30 days are kept, and whatever the time zone of the business day is, these
/// are kept for another day at least.
const DAYS: i64 = 30;

/// `at_seq`: as of the day's event; `sold`: as of now. $3 and $4 enclose the cell's ids. An order that was paid at once
/// is sold by its first event, one that was paid later by the event that says so.
const COUNTS: &str = "\
WITH counted AS (
    SELECT o.business_day, i.product_id,
        coalesce(sum(i.quantity) FILTER (
            WHERE CASE WHEN o.expires_at IS NULL THEN o.order_id - $3::int8 ELSE o.confirmed_seq END <= d.seq
                AND (o.released_seq IS NULL OR o.released_seq > d.seq)), 0)::int8 AS at_seq,
        coalesce(sum(i.quantity) FILTER (WHERE o.status = 'CONFIRMED'), 0)::int8 AS sold
    FROM unnest($1::date[], $2::int8[]) AS d (business_day, seq)
    JOIN orders o USING (business_day) JOIN order_items i USING (order_id)
    WHERE o.order_id > $3 AND o.order_id <= $4
    GROUP BY o.business_day, i.product_id
), stored AS (
    SELECT business_day, product_id, quantity FROM product_sales WHERE cell = $5 AND business_day = ANY($1::date[])
)
SELECT business_day, product_id, coalesce(c.at_seq, 0) AS at_seq, coalesce(c.sold, 0) AS sold,
    coalesce(s.quantity, 0) AS in_table
FROM counted c FULL JOIN stored s USING (business_day, product_id)";

/// The ranking of a day as Redis had it at one moment.
#[derive(Debug)]
pub(super) struct Day {
    pub date: Date,
    /// As of this event.
    pub seq: u64,
    pub sold: HashMap<String, i64>,
}

/// The days to compare.
pub(super) fn days(now: Timestamp) -> Vec<Date> {
    let today = now.to_zoned(TimeZone::UTC).date();
    (2 - DAYS..=1).map(|shift| today.saturating_add(shift.days())).collect()
}

/// Compares all days in one pass over the orders of these days and their lines. In memory are at most as many products as
/// each process has in its catalogue, once for every day.
pub(super) async fn compare(books: &Books<'_>, days: &[Day], findings: &mut Findings) -> Result<(), DatabaseError> {
    let (dates, seqs): (Vec<Date>, Vec<i64>) = days.iter().map(|day| (day.date, signed(day.seq))).unzip();
    let (base, last) = (books.base(), books.last_id());
    let rows = books.rows(COUNTS, &[&dates, &seqs, &base, &last, &books.cell_number]).await?;
    let mut expected: HashMap<(Date, String), i64> = HashMap::new();
    for row in rows {
        let (day, product): (Date, String) = (row.get("business_day"), row.get::<_, i32>("product_id").to_string());
        let (sold, in_table): (i64, i64) = (row.get("sold"), row.get("in_table"));
        if sold != in_table {
            let detail = format!("sold, in the table product_sales; confirmed orders make {sold}");
            findings.add(Kind::SalesCounts, format!("{day} {product}"), (None, Some(in_table.into())), detail);
        }
        expected.insert((day, product), row.get("at_seq"));
    }
    let in_redis = days.iter().flat_map(|day| day.sold.keys().map(move |product| (day.date, product.clone())));
    let all: BTreeSet<(Date, String)> = in_redis.chain(expected.keys().cloned()).collect();
    findings.checked.sales += all.len() as u64;
    let ranked: HashMap<Date, &Day> = days.iter().map(|day| (day.date, day)).collect();
    for (date, product) in all {
        let Some(day) = ranked.get(&date) else { continue };
        // What was all refunded is not in the ranking any more.
        let sold = day.sold.get(&product).copied().unwrap_or_default();
        let id = format!("{date} {product}");
        let expected = expected.get(&(date, product)).copied().unwrap_or_default();
        let detail = format!("units in the ranking as of event {}", day.seq);
        findings.compare_numbers(Kind::Sales, &id, (sold, expected), &detail);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_days_end_tomorrow() {
        let days = days("2026-03-01T23:00:00Z".parse().expect("a time"));
        assert_eq!(days.len(), 30);
        assert_eq!((days[0].to_string(), days[29].to_string()), ("2026-02-01".to_owned(), "2026-03-02".to_owned()));
    }
}
