//! What the compose file tells containers to run, run without them.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};

use super::super::support::sandbox::PlayedSandbox;
use super::super::support::shop::{Backends, Shop, free_port};
use super::super::support::{fresh_database, fresh_folder, namespace};
use super::file::{ComposeFile, list, resolve};

/// For one health check: more than its own time.
const CHECK_LIMIT: Duration = Duration::from_secs(20);

fn port_of(url: &str) -> &str {
    url.rsplit(':').next().expect("a port")
}

/// Runs a service's health check, which asks `port`, on `instead`.
async fn check(service: &str, port: &str, instead: &str) -> ExitStatus {
    let file = ComposeFile::load();
    let test = list(&file.services()[service]["healthcheck"]["test"]);
    let [kind, program, rest @ ..] = test.as_slice() else { panic!("{service}: {test:?}") };
    assert_eq!((*kind, *program), ("CMD", "bash"), "{service}");
    let own = format!("/127.0.0.1/{port} ");
    assert!(test.iter().any(|part| part.contains(&own)), "{service}: {test:?}");
    let arguments = rest.iter().map(|part| resolve(&part.replace(&own, &format!("/127.0.0.1/{instead} ")), &[].into()));
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(CHECK_LIMIT, command.status()).await.expect("it ends").expect("bash runs")
}

#[tokio::test]
async fn health_checks_tell_a_ready_service_from_others() {
    let (mut shop, sandbox) = (Shop::start("compose-health").await, PlayedSandbox::start().await);
    let (ops_url, sandbox_url) = (shop.client.ops_url.clone(), sandbox.at(""));
    assert!(check("flashsale", "8081", port_of(&ops_url)).await.success());
    assert!(check("sandbox", "8082", port_of(&sandbox_url)).await.success());
    // Somebody who answers, but with another status.
    assert!(!check("flashsale", "8081", port_of(&sandbox_url)).await.success());
    assert!(!check("sandbox", "8082", port_of(&ops_url)).await.success());
    shop.kill().await;
    assert!(!check("flashsale", "8081", port_of(&ops_url)).await.success());
}

#[tokio::test]
async fn commands_of_the_program_exist() {
    for (name, service) in ComposeFile::load().own() {
        let command = list(&service["command"]);
        let (subcommand, options) = command.split_first().expect("a subcommand");
        let help = Command::new(env!("CARGO_BIN_EXE_flashsale")).args([subcommand, "--help"]).output().await;
        let help = help.expect("the binary starts");
        assert!(help.status.success(), "{name}: {subcommand}");
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        for option in options.iter().filter(|option| option.starts_with("--")) {
            assert!(help.contains(&format!("{option} ")), "{name}: {subcommand} has no {option}: {help}");
        }
    }
}

/// Ends with the test, however it ends: the thread of a test lives as long as the test.
fn start(program: &str, arguments: &[String], folder: &Path) -> Child {
    let log = std::fs::File::create(folder.join("log")).expect("a log");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]).args(arguments).current_dir(folder);
    command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().expect("setpriv runs")
}

#[tokio::test]
async fn the_service_takes_redis_as_it_is_started_there() {
    let file = ComposeFile::load();
    let command = list(&file.services()["redis"]["command"]);
    let password = "0123456789abcdef";
    let values = [("REDIS_PASSWORD".to_owned(), password.to_owned())].into();
    let (folder, port) = (fresh_folder("compose-redis"), free_port().to_string());
    let mut arguments: Vec<String> = command[1..].iter().map(|argument| resolve(argument, &values)).collect();
    arguments.extend(["--port", &port, "--bind", "127.0.0.1"].map(str::to_owned));
    let _redis = start(command[0], &arguments, &folder);

    let backends = Backends {
        redis_url: format!("redis://:{password}@127.0.0.1:{port}"),
        namespace: namespace("compose-redis"),
        database_url: fresh_database().await,
    };
    // `readyz` names every setting of Redis that is not as it must be.
    let shop = Shop::start_on(backends, &[]).await;
    let product = shop.client.product("Mug", 500, 1).await;
    shop.client.charge("ann", 500).await;
    shop.client.order("ann", "buy", product, 1).await.expect(201);
    assert!(folder.join("appendonlydir").is_dir(), "the log of Redis is in its volume");
}
