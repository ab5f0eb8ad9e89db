//! Requests as a document describes them, and answers checked against it.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::document::Document;
use crate::support::shop::{Client, Reply, unique};

/// One listener and its document.
pub struct Api {
    client: Client,
    base: String,
    document: Document,
    token: String,
    /// Name and status of every answer.
    seen: BTreeSet<(String, String)>,
}

/// A request to be sent: the document's example until it is changed.
#[derive(Clone)]
pub struct Ask {
    name: String,
    path: String,
    token: Option<String>,
    key: Option<String>,
    body: Option<Value>,
}

impl Ask {
    /// Puts an id into the path, if there is a place for one; text in quotes loses them.
    pub fn id(mut self, id: &impl ToString) -> Self {
        if let Some((before, rest)) = self.path.split_once('{') {
            let (_, after) = rest.split_once('}').expect("a closed name");
            self.path = format!("{before}{}{after}", id.to_string().trim_matches('"'));
        }
        self
    }

    pub fn query(mut self, query: &str) -> Self {
        self.path = format!("{}?{query}", self.path);
        self
    }

    /// Changes the body.
    pub fn edit(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        edit(self.body.as_mut().expect("a request with a body"));
        self
    }

    pub fn body(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    pub fn token(self, token: Option<String>) -> Self {
        Self { token, ..self }
    }

    pub fn key(self, key: Option<&str>) -> Self {
        Self { key: key.map(str::to_owned), ..self }
    }
}

impl Api {
    pub fn new(client: &Client, base: String, document: Document, token: String) -> Self {
        Self { client: client.clone(), base, document, token, seen: BTreeSet::new() }
    }

    /// Every operation's name.
    pub fn names(&self) -> Vec<String> {
        self.document.operations().into_keys().collect()
    }

    pub fn wants_token(&self, name: &str) -> bool {
        self.document.operation(name)["security"].is_array()
    }

    pub fn has_body(&self, name: &str) -> bool {
        self.document.operation(name)["requestBody"].is_object()
    }

    pub fn has_query(&self, name: &str, parameter: &str) -> bool {
        self.document.parameters(name, "query").contains(&parameter)
    }

    /// Whether it demands a key; `None`: it takes none.
    pub fn key(&self, name: &str) -> Option<bool> {
        let mut all = self.document.operation(name)["parameters"].as_array().into_iter().flatten();
        let key = all.find(|parameter| parameter["name"] == "Idempotency-Key")?;
        Some(key["required"] == true)
    }

    /// A request as the document describes it: its example, the token and a fresh key where they are due.
    pub fn ask(&self, name: &str) -> Ask {
        let (_, path) = name.split_once(' ').expect("METHOD PATTERN");
        let body = &self.document.operation(name)["requestBody"]["content"]["application/json"];
        Ask {
            name: name.to_owned(),
            path: path.to_owned(),
            token: self.wants_token(name).then(|| self.token.clone()),
            key: self.key(name).map(|_| unique("example")),
            body: body.is_object().then(|| body["example"].clone()),
        }
    }

    /// Sends a request that needs nothing but itself.
    pub async fn get(&mut self, name: &str) -> Reply {
        let ask = self.ask(name);
        self.send(ask).await.expect(200)
    }

    /// Sends a request and panics unless the document has its answer.
    pub async fn send(&mut self, ask: Ask) -> Reply {
        let (method, _) = ask.name.split_once(' ').expect("METHOD PATTERN");
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let token = ask.token.as_deref().map(|token| ("authorization", token));
        let key = ask.key.as_deref().map(|key| ("idempotency-key", key));
        let headers: Vec<(&str, &str)> = token.into_iter().chain(key).collect();
        let url = format!("{}{}", self.base, ask.path);
        let reply = self.client.try_send(method, &url, &headers, ask.body.as_ref()).await.expect("an answer");
        self.check(&ask.name, &reply);
        reply
    }

    fn check(&mut self, name: &str, reply: &Reply) {
        let status = reply.status.as_str().to_owned();
        let response = &self.document.operation(name)["responses"][&status];
        assert!(response.is_object(), "{name}: {status} is not in the document: {}", reply.body);
        let kind = reply.header("content-type").split(';').next().unwrap_or_default();
        match response["content"].as_object() {
            None => assert_eq!((kind, &reply.body), ("", &Value::Null), "{name} {status} has a body"),
            Some(content) => {
                let described = content.get(kind).unwrap_or_else(|| panic!("{name} {status} is {kind}"));
                if kind.ends_with("json") {
                    self.document.assert_fits(&described["schema"], &reply.body, &format!("{name} {status}"));
                }
            }
        }
        for (header, described) in response["headers"].as_object().into_iter().flatten() {
            match reply.header(header) {
                "" => assert_ne!(header, "Idempotency-Key", "{name} {status} does not name its key"),
                text => {
                    let is_number = described["schema"]["type"] == "integer";
                    let value = if is_number { json!(text.parse::<u64>().expect(header)) } else { json!(text) };
                    self.document.assert_fits(&described["schema"], &value, &format!("{name} {status} {header}"));
                }
            }
        }
        self.seen.insert((name.to_owned(), status));
    }

    /// Panics unless every success that the document has was answered, but for `except` (name and status).
    pub fn assert_every_success_was_seen(&self, except: &[(&str, &str)]) {
        for (name, operation) in self.document.operations() {
            for status in operation["responses"].as_object().expect("responses").keys() {
                let was_seen = self.seen.contains(&(name.clone(), status.clone()));
                let is_excepted = except.contains(&(name.as_str(), status.as_str()));
                assert!(!status.starts_with('2') || was_seen || is_excepted, "{name} never answered {status}");
            }
        }
    }
}
