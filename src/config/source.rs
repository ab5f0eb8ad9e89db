//! Where settings come from: the environment first, then one TOML file.

use std::collections::BTreeMap;
use std::fmt;

use super::value::Parse;

const ENV_PREFIX: &str = "FLASHSALE_";

/// Names in the environment that share the prefix but are not settings: what `flashsale dev` writes into its env file.
const NOT_SETTINGS: [&str; 4] = ["URL", "OPS_URL", "SANDBOX_URL", "CONFIG"];

/// All errors of a configuration, one per line.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the configuration has {} error(s):", self.0.len())?;
        self.0.iter().try_for_each(|error| writeln!(f, "  {error}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// The raw settings, before they are parsed.
#[derive(Debug, Default)]
pub struct Source {
    env: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
    /// What was wrong with the file itself.
    file_errors: Vec<String>,
}

impl Source {
    /// `env`: pairs of full names and values, of which those with the prefix count. `file`: name and text.
    pub fn new(env: impl IntoIterator<Item = (String, String)>, file: Option<(String, String)>) -> Self {
        let env = env
            .into_iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(ENV_PREFIX)?.to_ascii_lowercase(), value)))
            .collect();
        let mut source = Self { env, ..Self::default() };
        if let Some((name, text)) = file {
            source.read_file(&name, &text);
        }
        source
    }

    /// The process's environment and, when given (or named by `FLASHSALE_CONFIG`), a TOML file.
    pub fn from_process(file: Option<&std::path::Path>) -> Self {
        let named = std::env::var_os("FLASHSALE_CONFIG").map(std::path::PathBuf::from);
        let Some(path) = file.map(std::path::Path::to_path_buf).or(named) else {
            return Self::new(std::env::vars(), None);
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::new(std::env::vars(), Some((path.display().to_string(), text))),
            Err(error) => {
                let mut source = Self::new(std::env::vars(), None);
                source.file_errors.push(format!("{}: {error}", path.display()));
                source
            }
        }
    }

    /// Sets a value as the environment would; for `flashsale dev` and tests.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.env.insert(name.to_owned(), value.into());
    }

    /// Whether a value was given.
    pub fn has(&self, name: &str) -> bool {
        self.env.contains_key(name) || self.file.contains_key(name)
    }

    fn read_file(&mut self, name: &str, text: &str) {
        match text.parse::<toml::Table>() {
            // The parser's message quotes the line it failed on, which may hold a secret: only the place is told.
            Err(error) => {
                let at = error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
                self.file_errors.push(format!("{name}: not valid TOML near line {at}"));
            }
            Ok(table) => {
                for (key, value) in table {
                    match value {
                        toml::Value::String(text) => drop(self.file.insert(key, text)),
                        toml::Value::Integer(number) => drop(self.file.insert(key, number.to_string())),
                        toml::Value::Boolean(flag) => drop(self.file.insert(key, flag.to_string())),
                        _ => self.file_errors.push(format!("{key}: must be a text, a whole number or true/false")),
                    }
                }
            }
        }
    }

    /// Errors for what is set but is no setting, and for an unreadable file.
    pub(super) fn unknown_names(&self, known: &[&str]) -> Vec<String> {
        let mut errors = self.file_errors.clone();
        let is_known = |name: &str| known.contains(&name);
        let exempt = |name: &str| NOT_SETTINGS.iter().any(|n| n.eq_ignore_ascii_case(name));
        for name in self.env.keys().filter(|name| !is_known(name) && !exempt(name)) {
            errors.push(format!("{ENV_PREFIX}{}: no such setting", name.to_ascii_uppercase()));
        }
        for name in self.file.keys().filter(|name| !is_known(name)) {
            errors.push(format!("{name}: no such setting"));
        }
        errors
    }

    /// The parsed value of a setting; `None` after having added to `errors`.
    pub(super) fn get<T: Parse>(&self, name: &str, default: Option<&str>, errors: &mut Vec<String>) -> Option<T> {
        let text = self.env.get(name).or_else(|| self.file.get(name)).map(String::as_str).or(default);
        let Some(text) = text else {
            errors.push(format!("{name}: required (set {ENV_PREFIX}{})", name.to_ascii_uppercase()));
            return None;
        };
        match T::parse(text) {
            Ok(value) => Some(value),
            Err(expected) => {
                errors.push(format!("{name}: expected {expected}"));
                None
            }
        }
    }
}
