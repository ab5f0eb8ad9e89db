//! The header of an op, parsed.

use serde_json::Value;

use super::text::{Names, top_level, until_closed, word};

/// What stands above an op's body.
pub struct Header {
    pub op: String,
    pub args: Members,
    pub columns: Names,
    pub refusals: Names,
    /// Type and version.
    pub event: (String, String),
    pub fields: Members,
}

impl Header {
    pub fn parse(text: &str) -> Self {
        let value = |key: &str| {
            let lines = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            lines.unwrap_or_else(|| panic!("the header has no {key:?}:\n{text}")).trim()
        };
        let (event, fields) = value("event").split_once('{').expect("an event has fields");
        let (event, version) = event.trim().split_once(' ').expect("an event has a version");
        // Below `refusals:`, indented, one per line.
        let refusals = text.lines().skip_while(|line| *line != "refusals:").skip(1);
        let refusals = refusals.take_while(|line| line.starts_with("  "));
        assert!(!value("purpose").is_empty(), "a header says what the op is for");
        Self {
            op: value("op").to_owned(),
            args: Members::parse(value("args")),
            columns: value("columns").split(',').map(|name| name.trim().to_owned()).collect(),
            refusals: refusals.map(|line| word(line.trim())).collect(),
            event: (event.to_owned(), version.to_owned()),
            fields: Members::parse(until_closed(fields)),
        }
    }
}

/// A list such as `items? [{product, quantity}], final?` of a header, in its order.
pub struct Members(pub Vec<Member>);

pub struct Member {
    pub name: String,
    pub optional: bool,
    /// Its own members, when it is an object or a list of objects.
    pub inner: Members,
}

impl Members {
    fn parse(text: &str) -> Self {
        let member = |text: &str| {
            let name = word(text);
            let behind = &text[name.len()..];
            let inner = behind.split_once('{').map_or("", |(_, inner)| until_closed(inner));
            Member { optional: behind.starts_with('?'), inner: Self::parse(inner), name }
        };
        Self(top_level(text).into_iter().map(member).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn in_order(&self) -> Vec<&str> {
        self.0.iter().map(|member| member.name.as_str()).collect()
    }

    pub fn names(&self) -> Names {
        self.0.iter().map(|member| member.name.clone()).collect()
    }

    /// Those that are always there.
    pub fn required(&self) -> Names {
        self.0.iter().filter(|member| !member.optional).map(|member| member.name.clone()).collect()
    }

    /// The members of its items.
    pub fn of_items(&self) -> Names {
        self.0.iter().filter(|member| member.name == "items").flat_map(|member| member.inner.names()).collect()
    }

    /// The values of a map as the array that the log has; so are the items of a list of objects.
    pub fn by_position(&self, named: &Value) -> Vec<Value> {
        let value = |member: &Member| match &named[&member.name] {
            Value::Array(items) if !member.inner.is_empty() => {
                items.iter().map(|item| Value::Array(member.inner.by_position(item))).collect()
            }
            value => value.clone(),
        };
        self.0.iter().map(value).collect()
    }
}
