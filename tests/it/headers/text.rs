//! Reading Lua and headers as text.

use std::collections::BTreeSet;

pub type Names = BTreeSet<String>;

pub fn one(name: &str) -> Names {
    Names::from([name.to_owned()])
}

pub fn without_comments(body: &str) -> String {
    body.lines().map(|line| line.split("--").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// What follows each `mark`.
pub fn after_each<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(mark).map(move |(at, _)| &text[at + mark.len()..])
}

pub fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The identifier or number that `text` starts with.
pub fn word(text: &str) -> String {
    text.chars().take_while(|c| is_word(*c)).collect()
}

/// Every X of `object.X`, for `mark` = `object.`.
pub fn members_of(body: &str, mark: &str) -> Names {
    let starts = body.match_indices(mark).map(|(at, _)| at);
    let whole = starts.filter(|at| !body[..*at].chars().next_back().is_some_and(is_word));
    whole.map(|at| word(&body[at + mark.len()..])).collect()
}

/// The part before the bracket that closes what was open at the start of `text`.
pub fn until_closed(text: &str) -> &str {
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' if depth == 0 => return &text[..at],
            '}' | ']' | ')' => depth -= 1,
            _ => {}
        }
    }
    panic!("nothing closes {text:?}")
}

/// The parts between the commas that stand in no bracket.
pub fn top_level(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_u32);
    for (at, c) in text.char_indices() {
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}
