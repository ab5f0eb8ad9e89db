//! docker-compose.yml, Dockerfile and what belongs to them, as far as that can be said without Docker.

mod file;
mod running;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, PathBuf};

use flashsale::config::{Config, Source};
use flashsale::forwarder::message::Topic;
use serde_json::{Value, json};

use file::{ComposeFile, Variable, example_environment, files_below, list, parse, read, resolve, root, yaml};

#[test]
fn it_is_a_compose_file() {
    let schema: Value = serde_json::from_str(include_str!("compose/compose-spec.json")).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    let errors = |value: &Value| validator.iter_errors(value).map(|error| error.to_string()).collect::<Vec<_>>();
    assert_eq!(errors(&ComposeFile::load().value), Vec::<String>::new());
    // The schema would say so.
    assert!(!errors(&json!({"services": {"redis": {"image": "redis", "helthcheck": {}}}})).is_empty());
    // The very first form of compose files had services at the top, and the next ones a version.
    let file = ComposeFile::load();
    assert!(file.value["version"].is_null());
    let tops: Vec<&String> = file.value.as_object().expect("an object").keys().collect();
    assert!(
        tops.iter().all(|top| ["services", "volumes"].contains(&top.as_str()) || top.starts_with("x-")),
        "{tops:?}"
    );
}

#[test]
fn every_image_is_pinned() {
    let own = format!("flashsale:{}", env!("CARGO_PKG_VERSION"));
    for (name, service) in ComposeFile::load().services() {
        let image = service["image"].as_str().unwrap_or_else(|| panic!("{name} has no image"));
        if service["build"].is_object() {
            assert_eq!(image, own, "{name}");
            // Somebody else could offer an image of this name.
            assert_eq!(service["pull_policy"], "build", "{name}");
        } else {
            assert!(is_pinned(image), "{name}: {image}");
        }
    }
    let dockerfile = read("Dockerfile");
    let bases: Vec<&str> = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    assert!(bases.iter().all(|base| is_pinned(base.split(' ').next().expect("an image"))), "{bases:?}");
    let rust = format!("rust:{}.", env!("CARGO_PKG_RUST_VERSION"));
    assert!(bases[0].starts_with(&rust), "{} is not the rust-version of Cargo.toml", bases[0]);
    assert!(dockerfile.lines().any(|line| line.starts_with("USER ") && !line.contains("root") && line != "USER 0"));
}

/// Whether the tag names one release: `v3.13.3`, `15.18-bookworm` (PostgreSQL has no third number), `bookworm-20260824-slim`.
fn is_pinned(image: &str) -> bool {
    let Some((name, tag)) = image.split_once(':') else { return false };
    let numbers = if name == "postgres" { 2 } else { 3 };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_release = |part: &str| {
        let version: Vec<&str> = part.trim_start_matches('v').split('.').collect();
        version.len() == numbers && version.iter().all(|number| is_number(number))
    };
    let is_date = |part: &str| part.len() == 8 && part.starts_with("20") && is_number(part);
    tag.split('-').any(|part| is_release(part) || is_date(part))
}

#[test]
fn a_tag_that_moves_is_not_pinned() {
    for image in
        ["redis", "redis:latest", "redis:7", "redis:7.2", "redis:7.2-bookworm", "postgres:15", "debian:bookworm-slim"]
    {
        assert!(!is_pinned(image), "{image}");
    }
}

#[test]
fn every_service_is_watched_or_ends_by_itself() {
    let file = ComposeFile::load();
    for (name, service) in file.services() {
        let is_watched = service["healthcheck"]["test"].is_array();
        let restart = service["restart"].as_str().expect("restart");
        assert_eq!(is_watched, restart != "no", "{name}: restart {restart}");
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            let ends = file.services()[other]["restart"] == "no";
            let expected = if ends { "service_completed_successfully" } else { "service_healthy" };
            assert_eq!(how["condition"], expected, "{name} waits for {other}");
        }
    }
}

#[test]
fn nobody_gets_more_than_he_needs() {
    for (name, service) in ComposeFile::load().services() {
        for member in ["privileged", "cap_add", "devices", "network_mode", "pid", "ipc", "userns_mode", "env_file"] {
            assert!(service[member].is_null(), "{name} has {member}");
        }
        assert!(list(&service["security_opt"]).contains(&"no-new-privileges:true"), "{name}");
        let limits = &service["deploy"]["resources"]["limits"];
        assert!(limits["cpus"].is_string() && limits["memory"].is_string(), "{name} has no limits");
        assert!(service["logging"]["options"]["max-size"].is_string(), "{name} fills the disk with its log");
        for port in list(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name} is open to the world at {port}");
        }
        for volume in list(&service["volumes"]) {
            assert!(!volume.starts_with('/'), "{name} sees {volume} of the machine");
            assert!(!volume.starts_with('.') || volume.ends_with(":ro"), "{name} may write {volume}");
        }
        if service["build"].is_object() {
            assert_eq!((&service["read_only"], &service["cap_drop"]), (&json!(true), &json!(["ALL"])), "{name}");
        }
    }
}

#[test]
fn secrets_come_from_outside_and_have_no_default() {
    let is_secret =
        |name: &str| ["PASSWORD", "SECRET", "AUTH", "API_KEY", "TOKEN"].iter().any(|part| name.contains(part));
    let (file, example) = (ComposeFile::load(), example_environment());
    for (name, variables) in file.variables() {
        assert!(example.contains_key(&name), "{name} is not in .env.example");
        if is_secret(&name) {
            assert!(
                variables.iter().all(|v| [Variable::Required, Variable::Default(String::new())].contains(v)),
                "{name}"
            );
            assert_eq!(example[&name], "", "{name}: .env.example has a value that somebody will leave there");
        }
        assert_eq!(variables.len(), 1, "{name} stands in for different things: {variables:?}");
    }
    for (name, service) in file.services() {
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            assert!(!is_secret(variable) || value.starts_with("${"), "{name}: {variable} is written down");
        }
    }
    // Nobody commits it by accident, nor puts it into an image.
    assert!(read(".gitignore").lines().any(|line| ["/.env", ".env"].contains(&line)), ".gitignore does not have /.env");
    assert_eq!(read(".dockerignore").lines().find(|line| !line.starts_with('#')), Some("*"));
}

#[test]
fn every_setting_in_it_exists_and_they_fit_together() {
    let file = ComposeFile::load();
    let known: Vec<String> =
        Config::reference().iter().map(|setting| format!("FLASHSALE_{}", setting.name.to_uppercase())).collect();
    let dockerfile = read("Dockerfile");
    let in_image = dockerfile.split(|c: char| c.is_whitespace()).filter(|word| word.starts_with("FLASHSALE_"));
    let image: Vec<(&str, &str)> = in_image.filter_map(|word| word.split_once('=')).collect();
    assert_eq!(image.len(), 2, "{image:?}");
    for name in example_environment().keys().filter(|name| name.starts_with("FLASHSALE_")) {
        assert!(known.contains(name), ".env.example: {name} is no setting");
    }
    let required = file.variables().into_iter().filter(|(_, variables)| variables.contains(&Variable::Required));
    let required: BTreeMap<String, String> = required.map(|(name, _)| (name, "0123456789abcdef".repeat(2))).collect();
    for (name, service) in file.own() {
        let environment = service["environment"].as_object().into_iter().flatten();
        let environment = environment.map(|(name, value)| (name.as_str(), value.as_str().expect("a text")));
        let pairs: Vec<(String, String)> = environment
            .chain(image.iter().copied())
            // OpenTelemetry's own, which its library reads.
            .filter(|(name, _)| !name.starts_with("OTEL_"))
            .map(|(name, value)| (name.to_owned(), resolve(value, &required)))
            .collect();
        for (variable, _) in &pairs {
            assert!(known.contains(variable), "{name}: {variable} is no setting");
        }
        let source = Source::new(pairs, None);
        match service["command"][0].as_str() {
            Some("serve") => drop(Config::load(&source).expect("a valid configuration")),
            Some("migrate") => drop(Config::database_url(&source).expect("a database")),
            _ => {}
        }
    }
}

#[test]
fn what_is_mounted_is_there_and_where_it_is_looked_for() {
    let file = ComposeFile::load();
    let mut used = BTreeSet::new();
    for (name, service) in file.services() {
        for volume in list(&service["volumes"]) {
            let source = volume.split(':').next().expect("a source");
            match source.strip_prefix("./") {
                Some(path) => assert!(root().join(path).exists(), "{name}: {source} is not there"),
                None => drop(used.insert(source.to_owned())),
            }
        }
    }
    let declared: BTreeSet<String> = file.value["volumes"].as_object().expect("volumes").keys().cloned().collect();
    assert_eq!(used, declared);

    let grafana = &file.services()["grafana"];
    let mounts: Vec<(&str, &str)> =
        list(&grafana["volumes"]).iter().filter_map(|volume| volume.trim_end_matches(":ro").split_once(':')).collect();
    let provider = yaml("grafana/provisioning/dashboards/flashsale.yml");
    let dashboards = provider["providers"][0]["options"]["path"].as_str().expect("a path");
    assert!(mounts.contains(&("./grafana/dashboards", dashboards)), "{mounts:?}");
    let home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].as_str().expect("a path");
    let home = home.strip_prefix(dashboards).expect("a dashboard");
    assert!(root().join(format!("grafana/dashboards{home}")).is_file(), "{home}");

    // Names of services, and the ports that they listen on.
    let source = yaml("grafana/provisioning/datasources/prometheus.yml");
    assert_eq!(source["datasources"][0]["url"], "http://prometheus:9090");
    let scrape = yaml("grafana/prometheus.yml");
    assert_eq!(scrape["scrape_configs"][0]["static_configs"][0]["targets"], json!(["flashsale:8081"]));
    assert!(read("Dockerfile").contains("FLASHSALE_OPS_LISTEN=0.0.0.0:8081"));
    assert!(list(&file.services()["flashsale"]["ports"]).contains(&"127.0.0.1:8081:8081"));
}

#[test]
fn the_topics_are_those_of_the_forwarder() {
    let file = ComposeFile::load();
    let made = file.services()["kafka-topics"]["environment"]["TOPICS"].as_str().expect("topics");
    let made: BTreeSet<&str> = made.split(' ').collect();
    assert_eq!(made, Topic::ALL.iter().map(|topic| topic.as_str()).collect());
    for name in ["kafka", "kafka-topics"] {
        assert_eq!(file.services()[name]["profiles"], json!(["kafka"]), "{name}");
    }
}

#[test]
fn the_image_is_built_from_all_that_the_program_includes() {
    let ignore = read(".dockerignore");
    let allowed: BTreeSet<&str> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let mut needed: BTreeSet<String> = ["Cargo.toml", "Cargo.lock", "src"].map(str::to_owned).into();
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let members = manifest["workspace"]["members"].as_array().expect("members");
    needed.extend(members.iter().map(|member| member.as_str().expect("a path").to_owned()));
    for path in files_below(&root().join("src")).iter().filter(|path| path.extension().is_some_and(|e| e == "rs")) {
        let text = std::fs::read_to_string(path).expect("a source file");
        let folder = path.parent().expect("a folder");
        for (argument, is_migrations) in included(&text) {
            // Migrations are looked for from the root.
            let target = if is_migrations { root().join(argument) } else { normal(&folder.join(argument)) };
            let inside = target.strip_prefix(root()).expect("a path in the repository");
            needed.insert(inside.components().next().expect("a name").as_os_str().to_string_lossy().into_owned());
        }
    }
    let missing: Vec<&String> = needed.iter().filter(|name| !allowed.contains(name.as_str())).collect();
    assert!(missing.is_empty(), ".dockerignore keeps {missing:?} out");
    assert!(needed.contains("lua") && needed.contains("sql"), "{needed:?}");
}

/// The first text in the arguments of each macro that reads a file, and whether it names migrations.
fn included(text: &str) -> Vec<(&str, bool)> {
    let macros = [("include_str!(", false), ("include_bytes!(", false), ("embed_migrations!(", true)];
    let of_macro = |(name, is_migrations)| {
        let calls = text.split(name).skip(1);
        calls.filter_map(move |rest| Some((rest.split('"').nth(1)?, is_migrations)))
    };
    macros.into_iter().flat_map(of_macro).collect()
}

/// Without `..`.
fn normal(path: &std::path::Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            other => normal.push(other),
        }
    }
    normal
}

#[test]
fn variables_are_resolved_as_compose_does_it() {
    let values = [("A".to_owned(), "x".to_owned()), ("EMPTY".to_owned(), String::new())].into();
    for (text, resolved) in [
        ("${A:?wanted}-${B:-b}-$$C", "x-b-$C"),
        ("${EMPTY:-c}", "c"),
        ("redis://:${A:?set it}@redis", "redis://:x@redis"),
        ("nothing", "nothing"),
    ] {
        assert_eq!(resolve(text, &values), resolved);
    }
    assert_eq!(parse("a: &a {b: 1}\nc: {<<: *a, d: 2}").expect("YAML")["c"], json!({"b": 1, "d": 2}));
}
