//! Times of answers, from goose's own histograms.

use std::time::Duration;

use goose::metrics::{GooseMetrics, GooseRequestMetricTimingData};

/// Percentiles; all 0 without an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Median.
    pub p50: Duration,
    /// 95th percentile.
    pub p95: Duration,
    /// 99th percentile.
    pub p99: Duration,
}

impl Times {
    /// Of all these rows together.
    pub fn of(metrics: &GooseMetrics, rows: &[String]) -> Self {
        Self::of_data(rows.iter().filter_map(|row| Some(&metrics.requests.get(row)?.raw_data)))
    }

    /// The same, with the requests that a stalled service kept users from sending (goose's `--co-mitigation average`).
    pub fn with_unsent(metrics: &GooseMetrics, rows: &[String]) -> Self {
        let requests = rows.iter().filter_map(|row| metrics.requests.get(row));
        Self::of_data(requests.map(|request| request.coordinated_omission_data.as_ref().unwrap_or(&request.raw_data)))
    }

    fn of_data<'a>(parts: impl Iterator<Item = &'a GooseRequestMetricTimingData>) -> Self {
        let mut all = GooseRequestMetricTimingData { minimum_time_us: u64::MAX, ..Default::default() };
        for part in parts.filter(|part| part.counter > 0) {
            for (bucket, count) in part.times_us.iter() {
                let known = all.times_us.get(bucket).copied().unwrap_or(0);
                all.times_us.insert(*bucket, known + count);
            }
            all.minimum_time_us = all.minimum_time_us.min(part.minimum_time_us);
            all.maximum_time_us = all.maximum_time_us.max(part.maximum_time_us);
            all.counter += part.counter;
        }
        if all.counter == 0 {
            return Self::default();
        }
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| Duration::from_micros(all.percentile_us(share)));
        Self { p50, p95, p99 }
    }
}

/// In milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(times: &[(u64, usize)]) -> GooseRequestMetricTimingData {
        let mut data = GooseRequestMetricTimingData::default();
        for (us, count) in times {
            data.times_us.insert(*us, *count);
            data.counter += count;
        }
        data.minimum_time_us = times.iter().map(|(us, _)| *us).min().unwrap_or(0);
        data.maximum_time_us = times.iter().map(|(us, _)| *us).max().unwrap_or(0);
        data
    }

    #[test]
    fn rows_are_taken_together() {
        let parts = [data(&[(100, 90)]), data(&[(100, 5), (8_000, 5)]), data(&[])];
        let times = Times::of_data(parts.iter());
        // Goose's buckets are narrower than 2 %.
        let near = |time, expected: f64| assert!((ms(time) - expected).abs() <= expected / 50.0, "{time:?}");
        near(times.p50, 0.1);
        near(times.p95, 0.1);
        near(times.p99, 8.0);
        assert_eq!(Times::of_data([data(&[])].iter()), Times::default());
    }
}
