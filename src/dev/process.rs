//! A server as a child process: started, watched until it is ready, paused, killed, stopped. Everything here blocks.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::spawner;

/// Between two looks at something that has no event to wait for.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// For a process to be gone after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// For an orderly end; then it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// For the server of an earlier run, whose parent was killed, to end by its parent-death signal.
const PREDECESSOR_LIMIT: Duration = Duration::from_secs(30);
/// For a port or shared memory to become free.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
/// How much of a log an error shows.
const LOG_TAIL_BYTES_MAX: u64 = 3_000;
/// What servers say when something has their port, or still has their shared memory.
const BUSY: [&str; 2] = ["Address already in use", "is still in use"];

/// Asks until there is an answer or `limit` has passed (`None`).
pub(super) fn wait_for<T>(limit: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(Some(answer));
        }
        if started.elapsed() >= limit {
            return Ok(None);
        }
        nap();
    }
}

#[expect(clippy::disallowed_methods, reason = "this module blocks by design; async callers use spawn_blocking")]
fn nap() {
    std::thread::sleep(POLL_INTERVAL);
}

/// Runs a command to its end; what it says goes to the end of `log`.
pub(super) fn run(command: Command, log: &Path, limit: Duration) -> Result<()> {
    let mut process = Process::spawn(command, log)?;
    match wait_for(limit, || process.exited())? {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("failed ({status}); {}", process.log_tail()),
        None => bail!("did not end within {} s; {}", limit.as_secs(), process.log_tail()),
    }
}

/// What is special about one kind of server.
pub(super) trait Setup {
    /// Name of the program, as the kernel shows it too.
    const PROGRAM: &'static str;
    /// Asks for an orderly end.
    const STOP_SIGNAL: &'static str;
    /// For the server to be ready, crash recovery included.
    const START_LIMIT: Duration;

    /// What it is started with.
    fn command(&self, port: u16) -> Result<Command>;
    /// Where the server writes its process id, in the folder that it works in.
    fn pid_file(&self) -> PathBuf;
    /// Where its output goes.
    fn log(&self) -> PathBuf;
    /// Does the process `pid`, and no other, serve at this port?
    fn is_ready(&self, port: u16, pid: u32) -> bool;
}

/// A server that is killed when dropped.
pub(super) struct Server<S> {
    setup: S,
    port: u16,
    // Before the lock: fields are dropped in this order, and the folder is free only when the process has gone.
    process: Process,
    _lock: File,
}

impl<S: Setup> Server<S> {
    /// Starts it and waits until it is ready. Port 0: any free one.
    pub(super) fn start(setup: S, lock: File, port: u16) -> Result<Self> {
        let (port, process) = launch_when_free(&setup, port)?;
        Ok(Self { setup, port, process, _lock: lock })
    }

    pub(super) fn setup(&self) -> &S {
        &self.setup
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    pub(super) fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    pub(super) fn pause(&mut self) -> Result<()> {
        self.process.signal_all("STOP")
    }

    pub(super) fn resume(&mut self) -> Result<()> {
        self.process.signal_all("CONT")
    }

    pub(super) fn restart(&mut self) -> Result<()> {
        self.process.kill()?;
        (_, self.process) = launch_when_free(&self.setup, self.port)?;
        Ok(())
    }

    pub(super) fn stop(mut self) {
        if let Err(error) = self.process.stop(S::STOP_SIGNAL) {
            tracing::warn!(server = S::PROGRAM, error = format!("{error:#}"), "no orderly end; killing it");
        }
    }
}

fn launch_when_free<S: Setup>(setup: &S, wanted: u16) -> Result<(u16, Process)> {
    wait_for_predecessor(&setup.pid_file(), S::PROGRAM)?;
    let mut log = String::new();
    wait_for(BUSY_LIMIT, || {
        let port = if wanted == 0 { spawner::free_port()? } else { wanted };
        match launch(setup, port)? {
            Launch::Ready(process) => Ok(Some((port, process))),
            Launch::Busy(said) => {
                log = said;
                Ok(None)
            }
        }
    })?
    .with_context(|| format!("{} cannot start: its port or its memory is in use; {log}", S::PROGRAM))
}

enum Launch {
    Ready(Process),
    Busy(String),
}

fn launch<S: Setup>(setup: &S, port: u16) -> Result<Launch> {
    let mut process = Process::spawn(setup.command(port)?, &setup.log())?;
    let outcome: Option<Result<(), ExitStatus>> = wait_for(S::START_LIMIT, || match process.exited()? {
        Some(status) => Ok(Some(Err(status))),
        None => Ok(setup.is_ready(port, process.child.id()).then_some(Ok(()))),
    })?;
    let log = process.log_tail();
    match outcome {
        Some(Ok(())) => Ok(Launch::Ready(process)),
        Some(Err(_)) if BUSY.iter().any(|words| log.contains(words)) => Ok(Launch::Busy(log)),
        Some(Err(status)) => bail!("{} does not start ({status}); {log}", S::PROGRAM),
        None => bail!("{} is not ready after {} s; {log}", S::PROGRAM, S::START_LIMIT.as_secs()),
    }
}

/// Waits until the server that `pid_file` names has ended, and takes the file away: after a restart of the machine or the
/// container its number may be somebody else's, and the server would not start because of it.
fn wait_for_predecessor(pid_file: &Path, program: &str) -> Result<()> {
    wait_for(PREDECESSOR_LIMIT, || Ok(predecessor(pid_file, program).is_none().then_some(())))?
        .with_context(|| format!("the {program} that {} names is still running", pid_file.display()))?;
    match fs::remove_file(pid_file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", pid_file.display()))
        }
        _ => Ok(()),
    }
}

fn predecessor(pid_file: &Path, program: &str) -> Option<u32> {
    let pid: u32 = fs::read_to_string(pid_file).ok()?.lines().next()?.trim().parse().ok()?;
    let same_program = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim() == program;
    // In some containers not even root can read this of another user's process; then the name has to do.
    let elsewhere = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| Some(&*folder) != pid_file.parent());
    (same_program && !elsewhere && is_running(pid)).then_some(pid)
}

/// A child and the children it has itself. Killed when dropped.
struct Process {
    child: Child,
    log: PathBuf,
    /// Where this child's part of the log begins.
    log_start: u64,
}

impl Process {
    fn spawn(mut command: Command, log: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(log);
        let file = file.with_context(|| format!("cannot write {}", log.display()))?;
        let log_start = file.metadata()?.len();
        command.stdout(file.try_clone()?).stderr(file);
        let child = spawner::spawn(command).context("cannot run setpriv: run scripts/setup")?;
        Ok(Self { child, log: log.to_owned(), log_start })
    }

    fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot ask for a child's state")
    }

    /// Signals the process, then its children.
    fn signal_all(&mut self, name: &str) -> Result<()> {
        ensure!(self.exited()?.is_none(), "the server is not running");
        signal(name, &[self.child.id()])?;
        signal_if_there(name, &children_of(self.child.id()));
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        if self.exited()?.is_some() {
            return Ok(());
        }
        // Stopped first, so that it starts no further child; its children before it, so that their numbers stay theirs.
        signal("STOP", &[self.child.id()])?;
        let children = children_of(self.child.id());
        signal_if_there("KILL", &children);
        self.child.kill().and_then(|()| self.child.wait()).context("cannot kill a server")?;
        wait_for(KILL_LIMIT, || Ok(children.iter().all(|pid| !is_running(*pid)).then_some(())))?
            .context("the children of a killed server do not end")
    }

    fn stop(&mut self, name: &str) -> Result<()> {
        if self.exited()?.is_some() {
            return Ok(());
        }
        // A paused one would not hear it.
        self.signal_all("CONT")?;
        signal(name, &[self.child.id()])?;
        wait_for(STOP_LIMIT, || self.exited())?.context("it goes on running")?;
        Ok(())
    }

    /// The end of what this child wrote, for an error message.
    fn log_tail(&self) -> String {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&self.log)?;
            let end = file.metadata()?.len();
            file.seek(SeekFrom::Start(self.log_start.max(end.saturating_sub(LOG_TAIL_BYTES_MAX))))?;
            let mut tail = Vec::new();
            file.read_to_end(&mut tail)?;
            Ok(tail)
        };
        let tail = read().unwrap_or_else(|error| error.to_string().into_bytes());
        format!("the end of {}:\n{}", self.log.display(), String::from_utf8_lossy(&tail).trim_end())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            tracing::warn!(pid = self.child.id(), error = format!("{error:#}"), "a server may still be running");
        }
    }
}

/// Through the shell's own `kill`: the program of that name is not on every machine.
fn signal(name: &str, pids: &[u32]) -> Result<()> {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let mut kill = Command::new("sh");
    kill.args(["-c", "kill -s \"$@\"", "sh", name]).args(&pids).stdin(Stdio::null()).stderr(Stdio::null());
    let status = kill.status().context("cannot run sh")?;
    ensure!(status.success(), "cannot send {name} to {}", pids.join(" "));
    Ok(())
}

/// For children of a server, which may end by themselves at any moment.
fn signal_if_there(name: &str, pids: &[u32]) {
    if !pids.is_empty() {
        let _ = signal(name, pids);
    }
}

fn children_of(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| state_of(*pid).is_some_and(|(_, its_parent)| its_parent == parent)).collect()
}

/// A zombie has ended: who reaps it is not our business.
fn is_running(pid: u32) -> bool {
    state_of(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// State letter and parent.
fn state_of(pid: u32) -> Option<(char, u32)> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `PID (NAME) STATE PARENT …`, where the name can hold spaces and parentheses too (proc(5)).
fn parse_stat(stat: &str) -> Option<(char, u32)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse_the_state() {
        assert_eq!(parse_stat("12 (redis) S (x) Z 7 12 12 0 -1"), Some(('Z', 7)));
        assert_eq!(parse_stat("12 (sh) R"), None);
    }

    #[test]
    fn waiting_ends_with_the_answer_or_the_limit() {
        let mut asked = 0;
        let third = wait_for(Duration::from_secs(10), || {
            asked += 1;
            Ok((asked == 3).then_some(asked))
        });
        assert_eq!(third.unwrap(), Some(3));
        assert_eq!(wait_for(Duration::ZERO, || Ok(None::<()>)).unwrap(), None);
    }
}
