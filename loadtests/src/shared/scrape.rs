//! The service's own metrics, in Prometheus' text format.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use hyper::StatusCode;

use super::http;

/// All samples of one scrape.
#[derive(Debug, Default)]
pub struct Scrape(Vec<Sample>);

#[derive(Debug)]
struct Sample {
    name: String,
    /// What stands between the braces.
    labels: String,
    value: f64,
}

impl Scrape {
    /// Asks the operations listener.
    pub async fn of(operations: SocketAddr) -> Result<Self> {
        let answer = http::get(operations, "/metrics").await?;
        ensure!(answer.status == StatusCode::OK, "/metrics answered {}", answer.status);
        Ok(Self::parse(&answer.text()))
    }

    fn parse(text: &str) -> Self {
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.strip_suffix('}').unwrap_or(labels);
            Some(Sample { name: name.to_owned(), labels: labels.to_owned(), value: value.parse().ok()? })
        };
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// Sum over all series of `name` that have all of `labels`; 0 without any, as a counter that never counted.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let matches = |sample: &&Sample| {
            sample.name == name && wanted.iter().all(|pair| sample.labels.split(',').any(|label| label == pair))
        };
        self.0.iter().filter(matches).map(|sample| sample.value).sum()
    }

    /// How far [`Self::sum`] has come since an earlier scrape.
    pub fn counted_since(&self, before: &Self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.sum(name, labels) - before.sum(name, labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_the_series_that_match() {
        let text = "# HELP ops Ops.\n# TYPE ops counter\n\
                    ops{op=\"a\",outcome=\"done\"} 3\nops{op=\"b\",outcome=\"done\"} 4\n\
                    ops{op=\"a\",outcome=\"refused\"} 5\nbatch_sum 12.5\n\n";
        let scrape = Scrape::parse(text);
        let near = |value: f64, expected: f64| assert!((value - expected).abs() < 1e-9, "{value}");
        near(scrape.sum("ops", &[("op", "a"), ("outcome", "done")]), 3.0);
        near(scrape.sum("ops", &[("outcome", "done")]), 7.0);
        near(scrape.sum("batch_sum", &[]), 12.5);
        near(scrape.sum("absent", &[]), 0.0);
    }
}
