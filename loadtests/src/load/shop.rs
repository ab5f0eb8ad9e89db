//! The shop under load: a private one that this program starts and ends, or one that is there already.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use flashsale::config::Secret;
use flashsale::http::auth::Minter;
use tempfile::TempDir;
use tokio::process::Child;
use tokio::time::{Instant, sleep};

use crate::shared::child;
use crate::shared::http::address_of;

/// Longest time until a private shop is ready: it makes a PostgreSQL first.
const READY_TIMEOUT: Duration = Duration::from_mins(2);

/// Longest time for its orderly end.
const STOP_TIMEOUT: Duration = Duration::from_mins(1);

/// Lifetime of the tokens beyond the load itself.
const TOKEN_SPARE_S: u64 = 3600;

/// `iss` and `aud` of the tokens: the defaults of the settings, and what `flashsale dev` sets.
const JWT_NAME: &str = "flashsale";

/// Every private shop: few users stand for many, and nothing else is to be at work.
const SETTINGS: [(&str, &str); 2] =
    [("FLASHSALE_HTTP_USER_REQUESTS_PER_S_MAX", "0"), ("FLASHSALE_VERIFY_INTERVAL_MS", "0")];

/// Which shop. Without any of these arguments it is a private one in a folder that goes.
#[derive(Debug, Default, Args)]
pub struct Target {
    /// Load the shop of a running `flashsale dev`: the env file that it wrote, such as data/env
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "data", "set"])]
    env: Option<PathBuf>,
    /// Load a running shop: its public listener, such as `http://10.0.0.5:8080`. `JWT_SECRET` and, to ask `PostgreSQL`
    /// too, `DATABASE_URL` come from the environment
    #[arg(long, requires = "ops_url", conflicts_with_all = ["data", "set"])]
    url: Option<String>,
    /// Its operations listener
    #[arg(long, requires = "url")]
    ops_url: Option<String>,
    /// Folder for the data of a private shop, which stays; one that `flashsale dev` made before is EMPTIED
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A setting of the private shop other than its default, such as `lane_ops_max=64`; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
}

impl Target {
    /// A private shop in a folder that goes.
    pub fn private(settings: &[(String, String)]) -> Self {
        Self { set: settings.to_vec(), ..Self::default() }
    }
}

/// A setting as the environment spells it.
pub fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((format!("FLASHSALE_{}", name.to_ascii_uppercase()), value.to_owned()))
}

/// A running shop.
pub struct Shop {
    /// The public listener, for goose.
    pub url: String,
    /// The same.
    pub public: SocketAddr,
    /// The operations listener.
    pub operations: SocketAddr,
    /// The gateway and the data platform that `flashsale dev` plays.
    pub sandbox: Option<SocketAddr>,
    /// `PostgreSQL`, when it may be asked.
    pub database_url: Option<String>,
    /// An operator's token.
    pub admin: String,
    minter: Minter,
    token_ttl_s: u64,
    private: Option<Private>,
}

/// A child of this program. The folder comes last: it goes when the child has ended.
struct Private {
    child: Child,
    log: PathBuf,
    _folder: Option<TempDir>,
}

/// What is known about a shop.
struct Facts<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Facts<'_> {
    fn get(&self, name: &str) -> Result<String> {
        (self.0)(name).filter(|value| !value.is_empty()).with_context(|| format!("{name} is missing"))
    }
}

impl Shop {
    /// Finds or starts the shop. `settings` are for a private one, whose log is `log`.
    pub async fn open(target: &Target, log: &Path, settings: &[(&str, &str)], load_time: Duration) -> Result<Self> {
        let ttl_s = load_time.as_secs() + TOKEN_SPARE_S;
        if let Some(file) = &target.env {
            return Self::of_env(file, ttl_s).await;
        }
        if let (Some(url), Some(ops_url)) = (&target.url, &target.ops_url) {
            let known = |name: &str| match name {
                "FLASHSALE_URL" => Some(url.clone()),
                "FLASHSALE_OPS_URL" => Some(ops_url.clone()),
                _ => std::env::var(name).ok(),
            };
            return Self::of_facts(&Facts(&known), ttl_s).await;
        }
        Self::start(target, log, settings, ttl_s).await
    }

    async fn of_env(file: &Path, ttl_s: u64) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}: is `flashsale dev` running?", file.display()))?;
        let known =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned);
        Self::of_facts(&Facts(&known), ttl_s).await.with_context(|| file.display().to_string())
    }

    async fn of_facts(facts: &Facts<'_>, token_ttl_s: u64) -> Result<Self> {
        let url = facts.get("FLASHSALE_URL")?;
        let minter = Minter::new(&Secret::new(facts.get("JWT_SECRET")?), JWT_NAME, JWT_NAME)?;
        let sandbox = match facts.get("FLASHSALE_SANDBOX_URL") {
            Ok(url) => Some(address_of(&url).await?),
            Err(_) => None,
        };
        Ok(Self {
            public: address_of(&url).await?,
            operations: address_of(&facts.get("FLASHSALE_OPS_URL")?).await?,
            url,
            sandbox,
            database_url: facts.get("DATABASE_URL").ok(),
            admin: minter.mint("load-admin", true, token_ttl_s)?,
            minter,
            token_ttl_s,
            private: None,
        })
    }

    /// `flashsale dev` as a child, on free ports.
    async fn start(target: &Target, log: &Path, settings: &[(&str, &str)], ttl_s: u64) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("flashsale");
        ensure!(program.is_file(), "{} does not exist; build it: cargo build --release --workspace", program.display());
        let (data, folder) = if let Some(data) = &target.data {
            ensure!(!data.join("env").exists(), "a shop runs in {}: stop it, or load it with --env", data.display());
            (data.clone(), None)
        } else {
            let near = log.parent().context("a log lies in a folder")?;
            let folder = tempfile::Builder::new().prefix("data-").tempdir_in(near)?;
            (folder.path().join("shop"), Some(folder))
        };
        let mut command = child::command(program);
        command
            .arg("dev")
            .arg("--data")
            .arg(&data)
            .args(["--port", "0", "--ops-port", "0", "--fresh"])
            .envs(SETTINGS)
            .envs(settings.iter().copied())
            .envs(target.set.iter().map(|(name, value)| (name, value)))
            // Ctrl-C reaches this program only: goose ends the load early, and the books are still asked for.
            .process_group(0);
        let child = child::start("flashsale dev", &mut command, log)?;
        let mut private = Private { child, log: log.to_owned(), _folder: folder };
        private.wait_ready(&data.join("env")).await?;
        let mut shop = Self::of_env(&data.join("env"), ttl_s).await?;
        shop.private = Some(private);
        Ok(shop)
    }

    /// Token of a user.
    pub fn token(&self, user: &str) -> Result<String> {
        self.minter.mint(user, false, self.token_ttl_s)
    }

    /// Process of a private shop: the service, and the sandbox with it.
    pub fn pid(&self) -> Option<u32> {
        self.private.as_ref()?.child.id()
    }

    /// Adds what a private shop said last to an error that it may have caused.
    pub fn explain<T>(&self, result: Result<T>) -> Result<T> {
        match &self.private {
            Some(Private { log, .. }) => {
                result.with_context(|| format!("the end of {}:\n{}", log.display(), child::log_tail(log)))
            }
            None => result,
        }
    }

    /// Ends a private shop with SIGTERM; any other one goes on.
    pub async fn close(self) -> Result<()> {
        match self.private {
            Some(Private { child, _folder, .. }) => child::stop("flashsale dev", child, STOP_TIMEOUT).await,
            None => Ok(()),
        }
    }
}

impl Private {
    async fn wait_ready(&mut self, env: &Path) -> Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        while !env.exists() {
            if let Some(status) = self.child.try_wait()? {
                bail!("flashsale dev ended ({status}):\n{}", child::log_tail(&self.log));
            }
            ensure!(Instant::now() < deadline, "flashsale dev is not ready:\n{}", child::log_tail(&self.log));
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_env_file_says_where_the_shop_is() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let write = |text: &str| std::fs::write(file.path(), text).expect("written");
        let urls = "FLASHSALE_URL=http://127.0.0.1:1\nFLASHSALE_OPS_URL=http://127.0.0.1:2\n";
        write(&format!("{urls}JWT_SECRET=0123456789abcdef0123456789abcdef=\n"));
        let shop = Shop::of_env(file.path(), 60).await.expect("a shop");
        assert_eq!((shop.public.port(), shop.operations.port(), shop.sandbox), (1, 2, None));
        assert!(shop.database_url.is_none() && shop.pid().is_none());
        write("FLASHSALE_URL=http://127.0.0.1:1\nFLASHSALE_OPS_URL=\n");
        assert!(Shop::of_env(file.path(), 60).await.is_err());
    }

    #[test]
    fn settings_are_spelled_as_in_the_environment() {
        assert_eq!(setting("lane_ops_max=6=4"), Ok(("FLASHSALE_LANE_OPS_MAX".to_owned(), "6=4".to_owned())));
        assert!(setting("lane_ops_max").is_err());
    }
}
