//! A document as its readers see it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// An `OpenAPI` document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    value: Value,
}

impl Document {
    pub fn new(value: Value) -> Self {
        Self { value }
    }

    /// Every operation by its name, such as `GET /api/orders/{id}`.
    pub fn operations(&self) -> BTreeMap<String, &Value> {
        let paths = self.value["paths"].as_object().expect("paths");
        let named = |(path, item): (&String, &Value)| -> Vec<String> {
            let methods = item.as_object().expect("operations").keys();
            methods.map(|method| format!("{} {path}", method.to_uppercase())).collect()
        };
        let all: Vec<String> = paths.iter().flat_map(named).collect();
        all.into_iter().map(|name| (name.clone(), self.operation(&name))).collect()
    }

    /// The operation of this name.
    #[track_caller]
    pub fn operation(&self, name: &str) -> &Value {
        let (method, path) = name.split_once(' ').expect("METHOD PATTERN");
        let operation = &self.value["paths"][path][method.to_lowercase()];
        assert!(operation.is_object(), "{name} is not in the document");
        operation
    }

    /// The parameters of an operation that travel in `place`, by name.
    pub fn parameters(&self, name: &str, place: &str) -> Vec<&str> {
        let all = self.operation(name)["parameters"].as_array().into_iter().flatten();
        all.filter(|parameter| parameter["in"] == place).filter_map(|parameter| parameter["name"].as_str()).collect()
    }

    /// Panics unless `instance` is as `schema` says.
    #[track_caller]
    pub fn assert_fits(&self, schema: &Value, instance: &Value, what: &str) {
        let whole = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "allOf": [schema],
            "components": self.value["components"],
        });
        let validator = jsonschema::options().should_validate_formats(true).build(&whole).expect("a valid schema");
        let errors: Vec<String> = validator.iter_errors(instance).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{what}: {instance} is not as described: {errors:#?}");
    }

    /// Panics when the document refers to what it does not have.
    pub fn assert_references_resolve(&self) {
        let mut references = Vec::new();
        collect(&self.value, &mut references);
        assert!(!references.is_empty());
        for reference in references {
            let pointer = reference.strip_prefix('#').expect("a reference within the document");
            assert!(self.value.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    }
}

/// Every `$ref` below `value`.
fn collect<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            into.extend(members.get("$ref").and_then(Value::as_str));
            for member in members.values() {
                collect(member, into);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect(item, into);
            }
        }
        _ => {}
    }
}
