//! Private Redis and PostgreSQL servers as child processes: for `flashsale dev`, the tests and the bench.
//!
//! Both listen on 127.0.0.1 only, keep their data in a folder of their own below the caller's, and end with this program
//! however it ends. A start, a stop and a restart block the thread until they are done: async callers use
//! `spawn_blocking`. Dropping a server kills it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::process::{Server, Setup, run};
use super::spawner::{claim, find_postgres, find_redis, guarded};

/// What a private Redis is started with.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    /// Port; 0: any free one.
    pub port: u16,
    /// Further arguments of `redis-server`, such as `["--appendfsync", "everysec"]`; they win over the defaults.
    pub extra: Vec<String>,
}

/// What a private PostgreSQL is started with.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    /// Port; 0: any free one.
    pub port: u16,
    /// Further settings as `name=value`; they win over the defaults.
    pub extra: Vec<String>,
}

/// A Redis of our own: every write on disk before its answer, nothing evicted, no password.
pub struct PrivateRedis(Server<RedisSetup>);

/// A PostgreSQL of our own, with one user and the database `flashsale`.
pub struct PrivatePostgres(Server<PostgresSetup>);

macro_rules! methods_of_both {
    ($server:ident) => {
        impl $server {
            /// Port on 127.0.0.1; it stays the same over restarts.
            pub fn port(&self) -> u16 {
                self.0.port()
            }

            /// Process id; another one after a restart.
            pub fn pid(&self) -> u32 {
                self.0.pid()
            }

            /// Ends it with SIGKILL, its child processes too, as a loss of power would; its data stays. Waits for the end.
            pub fn kill(&mut self) -> Result<()> {
                self.0.kill()
            }

            /// Makes it hang (SIGSTOP): connections stay open and get no answer. An error when it is not running.
            pub fn pause(&mut self) -> Result<()> {
                self.0.pause()
            }

            /// Lets it go on after a [pause](Self::pause).
            pub fn resume(&mut self) -> Result<()> {
                self.0.resume()
            }

            /// Starts it again on the same port and data, killing it first when it runs; waits until it is ready.
            pub fn restart(&mut self) -> Result<()> {
                self.0.restart()
            }

            /// Asks it to end in order and waits; kills it when that takes more than 30 s.
            pub fn stop(self) {
                self.0.stop();
            }
        }
    };
}

methods_of_both!(PrivateRedis);
methods_of_both!(PrivatePostgres);

impl PrivateRedis {
    /// Starts it on `data_dir/redis` and waits until it has loaded its data. An error shows the end of its log.
    pub fn start(data_dir: &Path, options: &RedisOptions) -> Result<Self> {
        let folder = data_dir.join("redis");
        let lock = claim(&folder)?;
        let setup = RedisSetup { program: find_redis()?, folder: folder.canonicalize()?, extra: options.extra.clone() };
        Ok(Self(Server::start(setup, lock, options.port)?))
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }
}

struct RedisSetup {
    program: PathBuf,
    folder: PathBuf,
    extra: Vec<String>,
}

/// What `flashsale serve` requires of a Redis, and: the AOF alone is the data (no RDB snapshots beside it), and it is
/// not rewritten in the middle of a test or a bench.
const REDIS_SETTINGS: [(&str, &str); 8] = [
    ("--bind", "127.0.0.1"),
    ("--daemonize", "no"),
    ("--appendonly", "yes"),
    ("--appendfsync", "always"),
    ("--maxmemory-policy", "noeviction"),
    ("--lazyfree-lazy-expire", "yes"),
    // A rewrite in the middle of a sale takes CPU and disk from the orders.
    ("--auto-aof-rewrite-min-size", "1gb"),
    ("--save", ""),
];

/// For one question to Redis while it starts.
const REDIS_ANSWER_LIMIT: Duration = Duration::from_millis(500);

impl Setup for RedisSetup {
    const PROGRAM: &'static str = "redis-server";
    const STOP_SIGNAL: &'static str = "TERM";
    const START_LIMIT: Duration = Duration::from_secs(30);

    fn command(&self, port: u16) -> Result<Command> {
        let mut command = guarded(&self.program, "TERM", None);
        for (name, value) in REDIS_SETTINGS {
            command.args([name, value]);
        }
        command.arg("--port").arg(port.to_string());
        command.arg("--dir").arg(&self.folder).arg("--pidfile").arg(self.pid_file());
        command.args(&self.extra);
        Ok(command)
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("redis.pid")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("redis.log")
    }

    fn is_ready(&self, port: u16, pid: u32) -> bool {
        ask_redis(port).is_ok_and(|answer| redis_serves(&answer, pid))
    }
}

fn ask_redis(port: u16) -> std::io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, REDIS_ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(REDIS_ANSWER_LIMIT))?;
    stream.write_all(b"PING\r\nINFO server\r\nQUIT\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// While it loads its data PING gets an error. The process id tells whether it is our Redis that has this port.
fn redis_serves(answer: &str, pid: u32) -> bool {
    answer.starts_with("+PONG\r\n") && answer.contains(&format!("\r\nprocess_id:{pid}\r\n"))
}

/// The user that PostgreSQL runs as when we are root, which it refuses. Debian's package makes it.
const POSTGRES_USER: &str = "postgres";

/// PostgreSQL finds our folder as a descriptor that it inherits. So it also runs as another user in a folder which that
/// user has no way to, below a private home or a temporary folder, and nobody's permissions have to be widened.
const POSTGRES_FOLDER: &str = "/proc/self/fd/3";

/// Moves the folder from standard input, where a child can be given it, to descriptor 3; becomes the server.
const BECOME_SERVER: &str = "exec \"$@\" 3<&0 </dev/null";

/// Likewise, for a server without a network: one that reads its statements.
const CREATE_DATABASE: &str = "exec 3<&0; echo 'CREATE DATABASE flashsale' | \"$@\"";

/// For making an empty cluster, on a slow disk too.
const INIT_LIMIT: Duration = Duration::from_secs(90);

/// `fsync` and `synchronous_commit` stay on. Few checkpoints, so that a bench measures the work and not them.
const POSTGRES_SETTINGS: [&str; 6] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=100",
    "shared_buffers=256MB",
    "max_wal_size=4GB",
    "checkpoint_timeout=15min",
];

impl PrivatePostgres {
    /// Starts it on `data_dir/postgres`, made on the first start, and waits until it has recovered. An error shows the
    /// end of its log.
    pub fn start(data_dir: &Path, options: &PostgresOptions) -> Result<Self> {
        let folder = data_dir.join("postgres");
        let lock = claim(&folder)?;
        let folder = folder.canonicalize()?;
        let version = fs::read_to_string(folder.join("cluster/PG_VERSION")).ok();
        // `/proc/self` belongs to the user that this process runs as.
        let is_root = fs::metadata("/proc/self").context("/proc is needed")?.uid() == 0;
        let setup = PostgresSetup {
            programs: find_postgres(version.as_deref())?,
            password: password(&folder, version.is_none())?,
            user: is_root.then_some(POSTGRES_USER),
            extra: options.extra.clone(),
            folder,
        };
        if version.is_none() {
            setup.create_cluster().context("cannot make a PostgreSQL cluster")?;
        }
        Ok(Self(Server::start(setup, lock, options.port)?))
    }

    /// `postgres://flashsale:PASSWORD@127.0.0.1:PORT/DATABASE`. The user may create further databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://flashsale:{}@127.0.0.1:{}/{database}", self.0.setup().password, self.port())
    }
}

/// The password in the folder; made when there is no cluster yet.
fn password(folder: &Path, may_make: bool) -> Result<String> {
    let path = folder.join("password");
    let reading = || format!("cannot read {}", path.display());
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).with_context(reading),
        _ => {}
    }
    ensure!(may_make, "{} is lost: remove {} to start over", path.display(), folder.display());
    let password = format!("{:032x}", rand::random::<u128>());
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(password.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(password)
}

struct PostgresSetup {
    programs: PathBuf,
    folder: PathBuf,
    user: Option<&'static str>,
    password: String,
    extra: Vec<String>,
}

impl PostgresSetup {
    /// Makes it under another name, so that a cluster is there whole, with its database, or not at all.
    fn create_cluster(&self) -> Result<()> {
        let draft = self.folder.join("cluster.new");
        if draft.exists() {
            fs::remove_dir_all(&draft).with_context(|| format!("cannot remove {}", draft.display()))?;
        }
        if let Some(user) = self.user {
            let mut chown = Command::new("chown");
            let status = chown.arg(format!("{user}:")).arg(&self.folder).arg(self.folder.join("password")).status()?;
            ensure!(status.success(), "cannot give {} to {user}: run scripts/setup", self.folder.display());
        }

        let mut initdb = self.program(BECOME_SERVER, "initdb")?;
        initdb.arg(format!("--pgdata={POSTGRES_FOLDER}/cluster.new"));
        initdb.arg(format!("--pwfile={POSTGRES_FOLDER}/password"));
        initdb.args(["--username=flashsale", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]);
        run(initdb, &self.log(), INIT_LIMIT).context("initdb")?;

        let mut single = self.program(CREATE_DATABASE, "postgres")?;
        single.args(["--single", "-D"]).arg(format!("{POSTGRES_FOLDER}/cluster.new"));
        single.args(["-c", "exit_on_error=on", "postgres"]);
        run(single, &self.log(), INIT_LIMIT).context("CREATE DATABASE")?;

        fs::rename(&draft, self.folder.join("cluster")).context("cannot rename the new cluster")
    }

    /// One of PostgreSQL's programs, started by a line of shell that gives it the folder. QUIT (an immediate shutdown)
    /// when we are gone: the other ways to end wait for clients, or for a child process that hangs.
    fn program(&self, line: &str, program: &str) -> Result<Command> {
        let mut command = guarded(Path::new("/bin/sh"), "QUIT", self.user);
        command.args(["-c", line, "sh"]).arg(self.programs.join(program));
        command.stdin(File::open(&self.folder).with_context(|| format!("cannot open {}", self.folder.display()))?);
        Ok(command)
    }
}

impl Setup for PostgresSetup {
    const PROGRAM: &'static str = "postgres";
    // A fast shutdown: clients are disconnected, everything is written.
    const STOP_SIGNAL: &'static str = "INT";
    const START_LIMIT: Duration = Duration::from_secs(90);

    fn command(&self, port: u16) -> Result<Command> {
        let mut command = self.program(BECOME_SERVER, "postgres")?;
        command.arg("-D").arg(format!("{POSTGRES_FOLDER}/cluster"));
        for setting in POSTGRES_SETTINGS {
            command.args(["-c", setting]);
        }
        command.arg("-c").arg(format!("port={port}"));
        for setting in &self.extra {
            command.arg("-c").arg(setting);
        }
        Ok(command)
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("cluster/postmaster.pid")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("postgres.log")
    }

    fn is_ready(&self, _port: u16, pid: u32) -> bool {
        fs::read_to_string(self.pid_file()).is_ok_and(|file| postgres_serves(&file, pid))
    }
}

/// The server tells its state in `postmaster.pid`: its process id in the first line, `ready` in the eighth once it lets
/// clients in. `pg_ctl` waits for the same.
fn postgres_serves(pid_file: &str, pid: u32) -> bool {
    let lines: Vec<&str> = pid_file.lines().map(str::trim).collect();
    lines.first().is_some_and(|line| line.parse() == Ok(pid)) && lines.get(7) == Some(&"ready")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_redis_with_its_data_loaded_counts() {
        assert!(redis_serves("+PONG\r\n$40\r\n# Server\r\nprocess_id:12\r\ntcp_port:1\r\n\r\n+OK\r\n", 12));
        assert!(!redis_serves("+PONG\r\n$40\r\n# Server\r\nprocess_id:123\r\ntcp_port:1\r\n\r\n+OK\r\n", 12));
        assert!(!redis_serves("-LOADING Redis is loading\r\n$40\r\n# Server\r\nprocess_id:12\r\n\r\n+OK\r\n", 12));
    }

    #[test]
    fn only_our_postgres_that_lets_clients_in_counts() {
        let file = "12\n/data\n1795229882\n5432\n\n127.0.0.1\n 10018848        11\nready   \n";
        assert!(postgres_serves(file, 12));
        assert!(!postgres_serves(file, 1));
        assert!(!postgres_serves(&file.replace("ready   ", "starting"), 12));
        assert!(!postgres_serves("12\n", 12));
    }
}
