//! The text of `lua/`, by function: what an op says is its own text and that of everything it calls.

use std::collections::{BTreeMap, BTreeSet};

use super::text::{after_each, is_word, without_comments, word};

/// The functions that an op can use.
pub struct Source {
    /// As they are used (`sellable(` of a shared file, `ops.place_order.want` of another op) → text.
    functions: BTreeMap<String, String>,
}

impl Source {
    /// From the files that ops share, and the ops by name.
    pub fn new<'a, 'b>(shared: impl Iterator<Item = &'a str>, ops: impl Iterator<Item = (&'b str, &'b str)>) -> Self {
        let mut functions = BTreeMap::new();
        for file in shared.map(without_comments) {
            for text in after_each(&file, "\nlocal function ") {
                let (text, _) = text.split_once("\nend").expect("a function ends");
                functions.insert(format!("{}(", word(text)), text.to_owned());
            }
        }
        for (op, file) in ops {
            let file = without_comments(file);
            for (at, _) in file.match_indices(" = function(") {
                let name: Vec<char> = file[..at].chars().rev().take_while(|c| is_word(*c)).collect();
                let name: String = name.into_iter().rev().collect();
                let (text, _) = file[at..].split_once("\n  end").expect("a function ends");
                functions.insert(format!("ops.{op}.{name}"), text.to_owned());
            }
        }
        Self { functions }
    }

    /// `body` without comments and, behind it, everything that it uses.
    pub fn expand(&self, body: &str) -> String {
        let (mut text, mut known) = (without_comments(body), BTreeSet::<&String>::new());
        loop {
            let used = self.functions.iter().filter(|(name, _)| !known.contains(name) && uses(&text, name));
            let used: Vec<(&String, &String)> = used.collect();
            if used.is_empty() {
                return text;
            }
            for (name, function) in used {
                known.insert(name);
                text.push('\n');
                text.push_str(function);
            }
        }
    }
}

/// Whether `name` stands in `text` as a whole word, and not as a member of something.
fn uses(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let behind = text[at + name.len()..].chars().next();
        !before.is_some_and(|c| is_word(c) || c == '.') && (name.ends_with('(') || !behind.is_some_and(is_word))
    })
}
