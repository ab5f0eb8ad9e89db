//! Things that drift apart unless a test holds them together.

use std::path::Path;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

fn names_in(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).expect(folder);
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn every_lua_file_is_part_of_the_library() {
    let library = flashsale::redis::library::Library::new().text;
    for folder in ["lua", "lua/ops"] {
        for name in names_in(folder).iter().filter(|name| Path::new(name).extension().is_some_and(|e| e == "lua")) {
            assert!(library.contains(read(&format!("{folder}/{name}")).trim()), "{folder}/{name} is not loaded");
        }
    }
}

#[test]
fn every_table_column_and_enum_value_has_a_comment() {
    let schema: String =
        names_in("sql/migrations").iter().map(|name| read(&format!("sql/migrations/{name}"))).collect();
    for table in schema.split("CREATE TABLE ").skip(1) {
        let (name, rest) = table.split_once(" (").expect("a table");
        assert!(schema.contains(&format!("COMMENT ON TABLE {name} IS")), "{name} has no comment");
        let (body, _) = rest.split_once("\n)").expect("a body");
        for line in body.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("PRIMARY KEY")) {
            let column = line.split_whitespace().next().expect("a column");
            let comment = schema
                .split(&format!("COMMENT ON COLUMN {name}.{column} IS '"))
                .nth(1)
                .and_then(|rest| rest.split("';").next())
                .unwrap_or_else(|| panic!("{name}.{column} has no comment"));
            if let Some((_, values)) = line.split_once(" IN (") {
                for value in values.split('\'').skip(1).step_by(2) {
                    assert!(comment.contains(&format!("{value}:")), "{name}.{column}: {value} is not explained");
                }
            }
        }
        for column in ["created_at", "updated_at"] {
            assert!(body.contains(column), "{name} has no {column}");
        }
    }
}

#[test]
fn every_metric_is_described_and_used() {
    let mut sources = String::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut sources);
    for (kind, name, help) in flashsale::metrics::ALL {
        assert!(help.trim().ends_with('.'), "{name} has no help text");
        assert_eq!(*kind == "counter", name.ends_with("_total"), "{name}: counters end in _total");
        let constant = read("src/metrics.rs");
        let declared = constant.lines().find(|line| line.contains(&format!("\"{name}\""))).expect(name);
        let constant = declared.split_whitespace().nth(1).expect("its constant");
        assert!(sources.contains(&format!("names::{constant}")), "{name} is never set");
    }
}

fn collect(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, into);
        } else {
            into.push_str(&std::fs::read_to_string(&path).expect("a source file"));
        }
    }
}

#[test]
fn every_refusal_of_an_op_is_a_code_that_clients_can_get() {
    use flashsale::engine::op::Op;
    use flashsale::engine::refusal::Refused;
    use flashsale::http::problem::Code;
    for refused in Op::NAMES.iter().flat_map(|op| Op::refusals(op)).chain(&Refused::COMMON) {
        if *refused != Refused::BacklogFull {
            assert!(Code::from_name(refused.code()).is_some(), "{}", refused.code());
        }
    }
}
