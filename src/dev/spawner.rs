//! What a server needs to be started: its program, a folder and a port for it alone, a user that it accepts, and a bond
//! that ends it with this program.
//!
//! The kernel sends the parent-death signal (`setpriv --pdeathsig`) when the *thread* that started the child ends, not
//! when the process does. Threads of a runtime or of a test come and go, so one thread that never ends starts them all.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::process::wait_for;

/// Where Debian keeps PostgreSQL's server programs, one folder per major version, outside of PATH.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";

/// A lock can outlive its holder for a moment: in a child between fork and exec.
const LOCK_LIMIT: Duration = Duration::from_secs(2);
/// Below the ports that systems give to outgoing connections (Linux: from 32768): while a server is down for a test, a
/// client that keeps trying to reach it could be given that very port as its own, and the server would not come back.
const PORTS: Range<u16> = 16_000..32_000;

struct Request {
    command: Command,
    answer: Sender<io::Result<Child>>,
}

static SPAWNER: LazyLock<Sender<Request>> = LazyLock::new(|| {
    let (requests, inbox) = mpsc::channel::<Request>();
    thread::Builder::new()
        .name("spawner".to_owned())
        .spawn(move || {
            for mut request in inbox {
                // Never fails: the asker waits for this answer.
                let _ = request.answer.send(request.command.spawn());
            }
        })
        .expect("the system lets this program start a thread");
    requests
});

/// Starts the command from the thread that never ends.
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    let (answer, result) = mpsc::channel();
    SPAWNER.send(Request { command, answer }).expect("the spawner's inbox is never closed");
    result.recv().expect("the spawner answers every request")
}

/// A command whose process gets `signal` (`TERM`, …) when this program ends, however it ends, and that runs as `user`
/// when there is one (which takes root). `program` is absolute. Arguments added to it are the program's.
pub(super) fn guarded(program: &Path, signal: &str, user: Option<&str>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal]);
    if let Some(user) = user {
        command.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--init-groups");
    }
    command.arg("--").arg(program);
    // A process group of its own: Ctrl-C in a terminal reaches this program only, which ends its servers in order; and
    // a paused server whose parent is killed is woken by the kernel (orphaned process groups are) and ends too.
    command.process_group(0);
    // Not the caller's folder, which `user` may be unable to enter; and messages that can be looked for.
    command.current_dir("/").env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// Makes a folder that only its owner can enter and takes it, as long as the answer lives: two servers on one folder
/// would ruin its data.
pub(super) fn claim(folder: &Path) -> Result<File> {
    let making = || format!("cannot make the folder {}", folder.display());
    DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(making)?;
    let lock = File::create(folder.join("lock")).with_context(making)?;
    wait_for(LOCK_LIMIT, || match lock.try_lock() {
        Ok(()) => Ok(Some(())),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error.into()),
    })?
    .with_context(|| {
        format!("{} is in use by another process; another one takes another folder (dev: --data)", folder.display())
    })?;
    Ok(lock)
}

/// A port of the loopback address that nobody listens on.
pub(super) fn free_port() -> Result<u16> {
    (0..100)
        .map(|_| rand::random_range(PORTS))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .context("no free port on 127.0.0.1")
}

/// The `redis-server` program.
pub(super) fn find_redis() -> Result<PathBuf> {
    let folder = first_with(path_folders(), &["redis-server"])?;
    Ok(folder.join("redis-server"))
}

/// The folder of PostgreSQL's server programs: those of `version` (as in `PG_VERSION`) when there already is data, else
/// what PATH names, else the newest installed.
pub(super) fn find_postgres(version: Option<&str>) -> Result<PathBuf> {
    let same_version = version.map(|version| Path::new(POSTGRES_VERSIONS).join(version.trim()).join("bin"));
    let installed = fs::read_dir(POSTGRES_VERSIONS).into_iter().flatten().flatten().map(|entry| entry.path());
    let installed = newest_first(installed.collect()).into_iter().map(|folder| folder.join("bin"));
    first_with(same_version.into_iter().chain(path_folders()).chain(installed), &["postgres", "initdb"])
}

/// Relative entries of PATH mean nothing to a child that starts in another folder.
fn path_folders() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).filter(|folder| folder.is_absolute()).collect::<Vec<_>>().into_iter()
}

fn first_with(mut folders: impl Iterator<Item = PathBuf>, programs: &[&str]) -> Result<PathBuf> {
    folders.find(|folder| programs.iter().all(|program| folder.join(program).is_file())).with_context(|| {
        let programs = programs.join(" and ");
        format!("{programs} not found: run scripts/setup (or apt-get install redis-server postgresql)")
    })
}

/// Sorts folders named by a version, 16 before 9.6; other names come last.
fn newest_first(mut folders: Vec<PathBuf>) -> Vec<PathBuf> {
    folders.sort_by_key(|folder| {
        let name = folder.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let major = name.split('.').next().and_then(|major| major.parse::<u32>().ok());
        std::cmp::Reverse(major)
    });
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_comes_first() {
        let folders = ["/p/9.6", "/p/15", "/p/other", "/p/17"].map(PathBuf::from).to_vec();
        assert_eq!(newest_first(folders), ["/p/17", "/p/15", "/p/9.6", "/p/other"].map(PathBuf::from));
    }
}
