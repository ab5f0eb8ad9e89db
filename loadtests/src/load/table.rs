//! The table that a load prints.

use super::times::{Times, ms};

/// One row: a request with one kind of answer.
#[derive(Clone, Debug)]
pub struct Row {
    /// Method and route.
    pub call: String,
    /// HTTP status; 0: there was no answer.
    pub status: u16,
    /// Code, `replayed`, or nothing.
    pub outcome: String,
    /// How many answers.
    pub count: u64,
    /// How long they took.
    pub times: Times,
}

/// The rows under a head, aligned.
pub fn render(rows: &[Row], seconds: f64) -> String {
    let head = ["request", "status", "outcome", "answers", "per s", "p50 ms", "p95 ms", "p99 ms"].map(str::to_owned);
    let mut lines = vec![head];
    for row in rows {
        let status = if row.status == 0 { "-".to_owned() } else { row.status.to_string() };
        let [median, slow, slowest] = [row.times.p50, row.times.p95, row.times.p99].map(|time| decimals(ms(time)));
        let (count, rate) = (thousands(row.count), decimals(per_s(row.count, seconds)));
        lines.push([row.call.clone(), status, row.outcome.clone(), count, rate, median, slow, slowest]);
    }
    let widths: [usize; 8] =
        std::array::from_fn(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0));
    let align = |line: &[String; 8]| {
        let cells = line.iter().zip(widths).enumerate().map(|(column, (text, width))| match column {
            0..3 => format!("{text:<width$}"),
            _ => format!("{text:>width$}"),
        });
        format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    lines.iter().map(align).collect()
}

/// 0 when there was no time.
pub fn per_s(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// As many decimals as mean something.
pub fn decimals(value: f64) -> String {
    match value {
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn columns_are_aligned() {
        let call = "POST /api/orders".to_owned();
        let [p50, p95, p99] = [1_234, 56_700, 890_000].map(Duration::from_micros);
        let times = Times { p50, p95, p99 };
        let rows = [
            Row { call: call.clone(), status: 201, outcome: String::new(), count: 12_345, times },
            Row { call, status: 0, outcome: "no answer".to_owned(), count: 1, times: Times::default() },
        ];
        let expected = concat!(
            "  request           status  outcome    answers  per s  p50 ms  p95 ms  p99 ms\n",
            "  POST /api/orders  201                 12,345   1234    1.23    56.7     890\n",
            "  POST /api/orders  -       no answer        1   0.10    0.00    0.00    0.00\n",
        );
        assert_eq!(render(&rows, 10.0), expected);
    }

    #[test]
    fn numbers_can_be_read() {
        assert_eq!(
            [0, 12, 999, 1_000, 123_456, 1_234_567].map(thousands),
            ["0", "12", "999", "1,000", "123,456", "1,234,567"]
        );
        assert_eq!([0.0, 1.234, 12.34, 123.4].map(decimals), ["0.00", "1.23", "12.3", "123"]);
        assert!(per_s(5, 0.0).abs() < 1e-9);
    }
}
