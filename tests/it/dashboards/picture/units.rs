//! Values as Grafana writes them, and the round ones that stand at an axis.

const THOUSANDS: [&str; 4] = ["", "K", "Mil", "Bil"];

const BYTES: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// Units of time, from above: from how many seconds on, and its name.
const TIMES: [(f64, &str); 6] =
    [(86_400.0, "day"), (3_600.0, "hour"), (60.0, "min"), (1.0, "s"), (0.001, "ms"), (0.000_001, "µs")];

/// Steps of an axis of long times, where 100 s are no round number.
const LONG_STEPS: [f64; 10] = [10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 86_400.0];

/// A value in one of Grafana's units; without `decimals`, with as many digits as mean something.
pub fn shown(value: f64, unit: &str, decimals: Option<usize>) -> String {
    let thousands = || scaled(value, 1_000.0, &THOUSANDS, decimals);
    match unit {
        "bytes" => scaled(value, 1_024.0, &BYTES, decimals),
        "locale" => grouped(&digits(value, decimals)),
        "ops" => format!("{} ops/s", thousands()),
        "percentunit" => format!("{}%", digits(value * 100.0, decimals)),
        "reqps" => format!("{} req/s", thousands()),
        "s" => time(value, decimals),
        "short" => thousands(),
        _ => digits(value, decimals),
    }
}

fn scaled(value: f64, base: f64, names: &[&str], decimals: Option<usize>) -> String {
    let (mut rest, mut place) = (value, 0);
    while rest.abs() >= base && place + 1 < names.len() {
        (rest, place) = (rest / base, place + 1);
    }
    format!("{} {}", digits(rest, decimals), names[place]).trim_end().to_owned()
}

fn time(value: f64, decimals: Option<usize>) -> String {
    let unit = TIMES.into_iter().find(|(least, _)| value.abs() >= *least);
    let (least, name) = unit.unwrap_or((1.0, "s"));
    format!("{} {name}", digits(value / least, decimals))
}

fn digits(value: f64, decimals: Option<usize>) -> String {
    let places = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.1 => 3,
        _ => 4,
    };
    let places = decimals.unwrap_or(places);
    let text = format!("{value:.places$}");
    let means = if decimals.is_none() && text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text.as_str()
    };
    if means == "-0" { "0".to_owned() } else { means.to_owned() }
}

/// A number with commas.
fn grouped(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let (sign, whole) = whole.split_at(usize::from(whole.starts_with('-')));
    let mut grouped = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// The three or four (seldom five) round values of an axis; the first is not above `low`, the last not below `high`.
pub fn ticks(low: f64, high: f64, unit: &str) -> Vec<f64> {
    let high = if high > low { high } else { low + 1.0 };
    // A little less, for rounding errors must not take twice as much.
    let wanted = (high - low) / 3.0 * 0.999_999;
    let step = match unit {
        "bytes" => wanted.log2().ceil().exp2(),
        "s" if wanted > 6.0 => LONG_STEPS.into_iter().find(|step| *step >= wanted).unwrap_or_else(|| round(wanted)),
        _ => round(wanted),
    };
    let first = (low / step).floor() * step;
    let reaches = |count: &u8| first + step * f64::from(*count) >= high - step * 0.000_01;
    let last = (1..4).find(reaches).unwrap_or(4);
    (0..=last).map(|count| first + step * f64::from(count)).collect()
}

/// The next of 1, 2 or 5 times a power of ten.
fn round(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|factor| factor * power).find(|step| *step >= least).unwrap_or(10.0 * power)
}

#[test]
fn values_are_written_as_grafana_does() {
    for (value, unit, decimals, expected) in [
        (0.0, "s", None, "0 s"),
        (0.000_45, "s", None, "450 µs"),
        (0.0123, "s", None, "12.3 ms"),
        (2.0, "s", None, "2 s"),
        (90.0, "s", None, "1.5 min"),
        (0.0, "short", None, "0"),
        (0.25, "short", None, "0.25"),
        (100.0, "short", None, "100"),
        (1_234.5, "short", None, "1.23 K"),
        (4_950.0, "short", Some(0), "5 K"),
        (2_500_000.0, "short", None, "2.5 Mil"),
        (12.34, "ops", Some(1), "12.3 ops/s"),
        (1_500.0, "reqps", None, "1.5 K req/s"),
        (0.975, "percentunit", None, "97.5%"),
        (20.0 * 1_024.0 * 1_024.0, "bytes", None, "20 MiB"),
        (500.0, "bytes", None, "500 B"),
        (1_234_567.0, "locale", Some(0), "1,234,567"),
        (-1_234.0, "locale", None, "-1,234"),
        (-0.3, "locale", Some(0), "0"),
        (123.0, "locale", None, "123"),
        (1.5, "none", None, "1.5"),
    ] {
        assert_eq!(shown(value, unit, decimals), expected, "{value} {unit} {decimals:?}");
    }
    assert_eq!(grouped("-123456.78"), "-123,456.78");
}

#[test]
fn axes_have_round_values() {
    for (low, high, unit, expected) in [
        (0.0, 1.0, "short", "0, 0.5, 1"),
        (0.0, 0.0, "none", "0, 0.5, 1"),
        (0.0, 3.0, "short", "0, 1, 2, 3"),
        (0.0, 10.1, "ops", "0 ops/s, 5 ops/s, 10 ops/s, 15 ops/s"),
        (0.0, 0.031, "s", "0 s, 20 ms, 40 ms"),
        (0.0, 90.0, "s", "0 s, 30 s, 1 min, 1.5 min"),
        (0.0, 50.0 * 1_024.0 * 1_024.0, "bytes", "0 B, 32 MiB, 64 MiB"),
        (-3.0, 3.0, "short", "-4, -2, 0, 2, 4"),
    ] {
        let named: Vec<String> = ticks(low, high, unit).into_iter().map(|tick| shown(tick, unit, None)).collect();
        assert_eq!(named.join(", "), expected, "{low} to {high} {unit}");
    }
}
