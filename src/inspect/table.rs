//! Two columns side by side, for a terminal. Names of products may be Korean: what counts is how wide a text is shown.

use serde_json::Value;

/// Widest name, and widest text of Redis and of PostgreSQL; what is longer goes on in the next line.
const WIDTHS_MAX: [usize; 3] = [30, 48, 64];

const HEADINGS: [&str; 3] = ["", "Redis", "PostgreSQL"];

/// In front of what differs; plain ASCII, because terminals do not agree on how wide other marks are.
const MARK: &str = "!=";

/// Between two columns.
const GAP: usize = 2;

/// A fact.
#[derive(Debug)]
pub(super) struct Line {
    pub section: &'static str,
    pub is_marked: bool,
    /// Its name, what Redis says, what PostgreSQL says.
    pub cells: [String; 3],
}

/// The whole table, every line with its end.
pub(super) fn lay_out(lines: &[Line]) -> String {
    let mut widths = HEADINGS.map(width);
    for line in lines {
        for ((widest, cell), max) in widths.iter_mut().zip(&line.cells).zip(WIDTHS_MAX) {
            *widest = (*widest).max(width(cell).min(max));
        }
    }
    let mut text = String::new();
    put_row(&mut text, "", &HEADINGS.map(str::to_owned), widths);
    let mut section = "";
    for line in lines {
        if line.section != section {
            section = line.section;
            text.push_str(section);
            text.push('\n');
        }
        put_row(&mut text, if line.is_marked { MARK } else { "" }, &line.cells, widths);
    }
    text
}

fn put_row(text: &mut String, mark: &str, cells: &[String; 3], widths: [usize; 3]) {
    let columns: Vec<Vec<String>> = cells.iter().zip(widths).map(|(cell, width)| wrap(cell, width)).collect();
    let height = columns.iter().map(Vec::len).max().unwrap_or_default();
    for place in 0..height {
        let mut line = padded(if place == 0 { mark } else { "" }, MARK.len() + 1);
        for (column, width) in columns.iter().zip(widths) {
            line.push_str(&padded(column.get(place).map_or("", String::as_str), width + GAP));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// A text with as many spaces behind it as it takes to be so wide.
fn padded(text: &str, columns: usize) -> String {
    let spaces = columns.saturating_sub(width(text));
    format!("{text}{}", " ".repeat(spaces))
}

/// Lines of at most `max` columns, broken between words where that is possible.
fn wrap(text: &str, max: usize) -> Vec<String> {
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for word in text.split(' ') {
        if used > 0 && used + 1 + width(word) > max {
            lines.push(std::mem::take(&mut line));
            used = 0;
        } else if used > 0 {
            line.push(' ');
            used += 1;
        }
        for letter in word.chars() {
            if used > 0 && used + width_of(letter) > max {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(letter);
            used += width_of(letter);
        }
    }
    lines.push(line);
    lines
}

/// Columns that a text takes in a terminal.
fn width(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

/// Columns that a character takes: two for what East Asian scripts write (and emoji), none for what is put on the one before.
/// Source: the blocks of Unicode that UAX #11 calls wide, without exceptions inside of them.
fn width_of(letter: char) -> usize {
    match letter {
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}'
        | '\u{a960}'..='\u{a97f}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// A value as people read it.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => clean(text),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("{} {}", spoken(name), plain(value)));
            members.collect::<Vec<_>>().join(", ")
        }
    }
}

/// A name of a column as people say it.
pub(super) fn spoken(name: &str) -> String {
    name.replace('_', " ")
}

/// A text without what would move a terminal's cursor: it may come from anybody.
pub(super) fn clean(text: &str) -> String {
    let moves =
        |letter: char| letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|letter| if moves(letter) { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(section: &'static str, cells: [&str; 3], is_marked: bool) -> Line {
        Line { section, is_marked, cells: cells.map(str::to_owned) }
    }

    #[test]
    fn columns_stand_below_each_other_also_when_names_are_korean() {
        let lines = [
            line("terms", ["name", "한정판 운동화", "한정판 운동화"], false),
            line("terms", ["price", "59000", "58000"], true),
            line("stock", ["available", "98", "-"], false),
        ];
        let expected = "              Redis          PostgreSQL\n\
            terms\n   \
               name       한정판 운동화  한정판 운동화\n\
            != price      59000          58000\n\
            stock\n   \
               available  98             -\n";
        assert_eq!(lay_out(&lines), expected);
    }

    #[test]
    fn long_texts_go_on_in_the_next_line() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("운동화 한정", 5), ["운동", "화", "한정"]);
        assert_eq!((wrap("", 5), wrap("x", 0)), (vec![String::new()], vec!["x".to_owned()]));
        let long = "word ".repeat(40);
        let text = lay_out(&[line("s", ["n", "1", long.trim_end()], true)]);
        assert_eq!(text.matches(MARK).count(), 1, "{text}");
        assert!(text.lines().count() > 4 && text.lines().all(|line| width(line) <= 80), "{text}");
    }

    #[test]
    fn widths_are_those_of_a_terminal() {
        for (text, columns) in
            [("", 0), ("abc", 3), ("쿠폰", 4), ("ㄱ", 2), ("日本", 4), ("é", 1), ("e\u{301}", 1), ("🎁", 2)]
        {
            assert_eq!(width(text), columns, "{text}");
        }
    }

    #[test]
    fn values_are_written_as_people_read_them_and_cannot_move_the_cursor() {
        let value = json!({"order_id": "9", "synced": true, "products": [1, 2], "error": null});
        assert_eq!(plain(&value), "order id 9, synced yes, products 1, 2, error -");
        assert_eq!(plain(&json!("a\u{1b}[2Jb\nc\u{202e}")), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}");
    }
}
