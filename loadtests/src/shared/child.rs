//! Child processes that end with this program, however it ends.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// Lines of a log that an error quotes.
const LOG_TAIL_LINES: usize = 20;

/// A command that the kernel ends when this program is killed (`setpriv --pdeathsig`), and tokio when its handle is
/// dropped. The kernel watches the THREAD that started it, so children are started from the main thread only, which
/// lives to the end: never inside `tokio::spawn` or `spawn_blocking`.
///
/// What the caller's environment says about flashsale does not reach it: a bench measures the defaults.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program).stdin(Stdio::null()).kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FLASHSALE_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end; an error quotes what it said.
pub async fn run(what: &str, command: &mut Command) -> Result<Output> {
    let output = command.output().await.with_context(|| format!("{what} does not start"))?;
    ensure!(
        output.status.success(),
        "{what} failed ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}

/// Starts a command whose output goes to a file.
pub fn start(what: &str, command: &mut Command, log: &Path) -> Result<Child> {
    let file = std::fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdout(file.try_clone()?).stderr(file);
    command.spawn().with_context(|| format!("{what} does not start"))
}

/// The process id.
pub fn pid(child: &Child) -> Result<u32> {
    child.id().context("the process has ended")
}

/// Asks for an orderly end (SIGTERM) and waits for it; kills what takes longer than `patience`.
pub async fn stop(what: &str, mut child: Child, patience: Duration) -> Result<()> {
    let id = pid(&child).with_context(|| format!("{what} ended by itself"))?;
    let id = Pid::from_raw(i32::try_from(id)?).context("a process id is not 0")?;
    kill_process(id, Signal::TERM)?;
    if let Ok(status) = tokio::time::timeout(patience, child.wait()).await {
        let status = status?;
        if !status.success() {
            eprintln!("{what} did not end in an orderly way: {status}");
        }
        return Ok(());
    }
    eprintln!("{what} did not end within {patience:?} and is killed");
    child.kill().await?;
    Ok(())
}

/// The end of a log, for an error.
pub fn log_tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
