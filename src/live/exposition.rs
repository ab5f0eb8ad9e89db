//! The text that Prometheus scrapes, read back: the live page knows what the metrics know, and nothing else.

use std::borrow::Cow;

/// One series at one moment.
#[derive(Debug)]
pub(super) struct Series<'a> {
    /// Of the metric; those of histograms end in `_bucket`, `_sum` and `_count`.
    pub(super) name: &'a str,
    /// Between the braces, as written.
    labels: &'a str,
    /// The number behind them.
    pub(super) value: f64,
}

impl<'a> Series<'a> {
    /// The value of a label; empty when it has none of this name.
    pub(super) fn label(&self, name: &str) -> Cow<'a, str> {
        labels(self.labels).find(|(key, _)| *key == name).map(|(_, value)| unescaped(value)).unwrap_or_default()
    }
}

/// Every series of a scrape. Comments, and lines that cannot be read, are passed over.
pub(super) fn series(text: &str) -> impl Iterator<Item = Series<'_>> {
    text.lines().filter_map(read_line)
}

fn read_line(line: &str) -> Option<Series<'_>> {
    if line.starts_with('#') {
        return None;
    }
    let (name, rest) = line.split_at(line.find(['{', ' '])?);
    let (labels, rest) = match rest.strip_prefix('{') {
        None => ("", rest),
        Some(rest) => {
            let end = end_of_labels(rest)?;
            (&rest[..end], &rest[end + 1..])
        }
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Series { name, labels, value })
}

/// Where the braces close: those inside of a value (of a route, say) are none.
fn end_of_labels(text: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let mark = at + text[at..].find(['"', '}'])?;
        if text[mark..].starts_with('}') {
            return Some(mark);
        }
        at = mark + 1 + end_of_value(&text[mark + 1..])? + 1;
    }
}

/// The first quotation mark that is not escaped.
fn end_of_value(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// Names with their values, still escaped.
fn labels(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (key, behind) = rest.split_once("=\"")?;
        let end = end_of_value(behind)?;
        rest = behind[end + 1..].trim_start_matches(',');
        Some((key, &behind[..end]))
    })
}

fn unescaped(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = concat!(
        "# HELP flashsale_x Something.\n",
        "# TYPE flashsale_x counter\n",
        "flashsale_x 3\n",
        "\n",
        "flashsale_y{cell=\"0\"} 1.5\n",
        "flashsale_http_request_seconds_bucket{route=\"GET /api/orders/{id}\",le=\"+Inf\"} 7 1700000000\n",
        "flashsale_z{text=\"a \\\"b}\\\\\\n\",other=\"=\\\"\"} NaN\n",
        "flashsale_broken{text=\"never ends} 1\n",
        "flashsale_empty{} -2e3\n",
        "flashsale_nothing\n",
    );

    #[test]
    fn every_series_is_read_and_the_rest_is_passed_over() {
        let names: Vec<&str> = series(TEXT).map(|series| series.name).collect();
        let bucket = "flashsale_http_request_seconds_bucket";
        assert_eq!(names, ["flashsale_x", "flashsale_y", bucket, "flashsale_z", "flashsale_empty"]);
        let values: Vec<String> = series(TEXT).map(|series| series.value.to_string()).collect();
        assert_eq!(values, ["3", "1.5", "7", "NaN", "-2000"]);
    }

    #[test]
    fn labels_may_hold_anything() {
        let all: Vec<Series<'_>> = series(TEXT).collect();
        assert_eq!(all[0].label("cell"), "");
        assert_eq!(all[1].label("cell"), "0");
        assert_eq!((all[2].label("route"), all[2].label("le")), ("GET /api/orders/{id}".into(), "+Inf".into()));
        assert_eq!((all[3].label("text"), all[3].label("other")), ("a \"b}\\\n".into(), "=\"".into()));
    }
}
