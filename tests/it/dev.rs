//! `flashsale dev`, as somebody starts it who has just cloned the repository.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::support::fresh_folder;

fn dev(data: &Path, port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flashsale"));
    let port = port.to_string();
    command.arg("dev").arg("--data").arg(data).args(["--port", &port, "--ops-port", "0"]);
    command.env("RUST_LOG", "info,fred=warn,refinery_core=warn").stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Starts it and reads what it prints, up to the storefront's address.
async fn start(data: &Path) -> (Child, String) {
    let log = std::fs::File::create(data.with_extension("log")).expect("a log");
    let mut child = dev(data, 0).stdout(Stdio::piped()).stderr(log).spawn().expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let url = async {
        loop {
            let line = lines.next_line().await.expect("readable").expect("it gets ready");
            if let Some(url) = line.trim().strip_prefix("storefront") {
                break url.trim().trim_end_matches('/').to_owned();
            }
        }
    };
    let url = tokio::time::timeout(std::time::Duration::from_mins(1), url).await.expect("it gets ready in time");
    // Whoever stops reading would end it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, url)
}

async fn get(url: &str) -> Value {
    let text = reqwest::get(url).await.expect("an answer").text().await.expect("a body");
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn a_first_start_has_a_sale_and_a_coupon_and_a_second_one_says_what_is_in_its_way() {
    let data = fresh_folder("dev").join("data");
    let (mut child, url) = start(&data).await;
    let products = get(&format!("{url}/api/products")).await;
    assert_eq!(products["products"].as_array().map(Vec::len), Some(6), "{products}");
    let coupons = get(&format!("{url}/api/coupons")).await;
    assert_eq!(coupons["coupons"][0]["remainingQuantity"], 100, "{coupons}");
    let log = std::fs::read_to_string(data.with_extension("log")).expect("the log");
    assert!(!log.contains("Closed"), "nothing is wrong with a first start: {log}");
    assert!(data.join("env").exists());

    let port = url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let other = fresh_folder("dev-other").join("data");
    for (data, port, more, says) in
        [(&other, port, "", "--port"), (&data, 0, "", "--data"), (&data, 0, "--fresh", "--data")]
    {
        let mut second = dev(data, port);
        let output = second.args([more].iter().filter(|more| !more.is_empty())).output().await.expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(says), "{said}");
    }
    assert!(!other.exists(), "nothing is made for nothing");
    assert_eq!(get(&format!("{url}/api/coupons")).await, coupons, "nobody starts over where somebody sells");

    let pid = child.id().expect("a running child").to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill runs").success());
    assert!(child.wait().await.expect("a status").success());
    assert!(!data.join("env").exists(), "its tokens lead nowhere now");
}
