//! docker-compose.yml and .env.example as their readers see them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A YAML file of the repository, with anchors and merges resolved.
pub fn yaml(path: &str) -> Value {
    parse(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// YAML as JSON.
pub fn parse(text: &str) -> Result<Value, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

/// The compose file, `${…}` as written.
pub struct ComposeFile {
    pub value: Value,
}

impl ComposeFile {
    pub fn load() -> Self {
        Self { value: yaml("docker-compose.yml") }
    }

    /// Every service by name.
    pub fn services(&self) -> &Map<String, Value> {
        self.value["services"].as_object().expect("services")
    }

    /// The services of the image that is made here.
    pub fn own(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.services().iter().filter(|(_, service)| service["build"].is_object())
    }

    /// The `${…}` in it, by name.
    pub fn variables(&self) -> BTreeMap<String, BTreeSet<Variable>> {
        let mut found: BTreeMap<String, BTreeSet<Variable>> = BTreeMap::new();
        for text in texts(&self.value) {
            for (name, variable) in variables(text) {
                found.entry(name).or_default().insert(variable);
            }
        }
        found
    }
}

/// What becomes of a variable that is empty.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Variable {
    /// `${NAME:-default}`
    Default(String),
    /// `${NAME:?message}`
    Required,
}

/// The items of a list of texts.
pub fn list(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|item| item.as_str().expect("a text")).collect()
}

/// The names in .env.example, with their values; also those that are commented out.
pub fn example_environment() -> BTreeMap<String, String> {
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let text = read(".env.example");
    let pairs = text.lines().filter_map(|line| line.trim_start_matches('#').split_once('='));
    pairs.filter(|(name, _)| is_name(name)).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// `text` with the values that compose would put in.
pub fn resolve(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut resolved = text.replace("$$", "\u{0}");
    for (name, variable) in variables(text) {
        let value = match (values.get(&name).filter(|value| !value.is_empty()), variable) {
            (Some(value), _) => value.clone(),
            (None, Variable::Default(default)) => default,
            (None, Variable::Required) => panic!("{name} is required"),
        };
        let start = resolved.find("${").expect("a variable");
        let end = start + resolved[start..].find('}').expect("its end");
        resolved.replace_range(start..=end, &value);
    }
    resolved.replace('\u{0}', "$")
}

fn variables(text: &str) -> Vec<(String, Variable)> {
    let parts = text.split("${").skip(1).map(|rest| rest.split_once('}').expect("an end of ${").0);
    let named = parts.map(|part| match (part.split_once(":-"), part.split_once(":?")) {
        (Some((name, default)), _) => (name.to_owned(), Variable::Default(default.to_owned())),
        (None, Some((name, _))) => (name.to_owned(), Variable::Required),
        (None, None) => panic!("${{{part}}} says neither what stands in for it nor that it is required"),
    });
    named.collect()
}

/// Every text in a value.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// Every file below a folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
