//! `DIR/env`: what a shell (or a test) needs to talk to a running `flashsale dev`.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

const NAME: &str = "env";

/// Everything in the file.
pub struct Facts {
    /// Public listener.
    pub url: String,
    /// Operations listener.
    pub ops_url: String,
    /// The payment gateway to play with.
    pub sandbox_url: String,
    /// A user's token.
    pub user_token: String,
    /// An operator's token.
    pub admin_token: String,
    /// Redis.
    pub redis_url: String,
    /// PostgreSQL.
    pub database_url: String,
    /// Signs tokens.
    pub jwt_secret: String,
}

/// Writes the file, readable by its owner only, in one step: who sees it sees all of it.
pub fn write(data: &Path, facts: &Facts) -> anyhow::Result<PathBuf> {
    let lines = [
        ("FLASHSALE_URL", &facts.url),
        ("FLASHSALE_OPS_URL", &facts.ops_url),
        ("FLASHSALE_SANDBOX_URL", &facts.sandbox_url),
        ("USER_TOKEN", &facts.user_token),
        ("ADMIN_TOKEN", &facts.admin_token),
        ("REDIS_URL", &facts.redis_url),
        ("DATABASE_URL", &facts.database_url),
        ("JWT_SECRET", &facts.jwt_secret),
    ];
    let text = lines.map(|(name, value)| format!("{name}={value}\n")).concat();
    let (path, draft) = (data.join(NAME), data.join("env.new"));
    let _ = std::fs::remove_file(&draft);
    write_private(&draft, &text)?;
    std::fs::rename(&draft, &path).context("writing the env file")?;
    Ok(path)
}

/// Takes the file away: what it points to is gone.
pub fn remove(data: &Path) {
    let path = data.join(NAME);
    // `flashsale token` goes on working: it needs the secret only, which stays in a file of its own.
    let _ = std::fs::remove_file(path);
}

/// The value of a name in the file of a running `flashsale dev`; the secret is found without one too.
pub fn read(data: &Path, name: &str) -> anyhow::Result<String> {
    let path = data.join(NAME);
    if let Ok(text) = std::fs::read_to_string(&path) {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        return value.map(str::to_owned).with_context(|| format!("{} has no {name}", path.display()));
    }
    if name == "JWT_SECRET" {
        let path = data.join("jwt-secret");
        let secret = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        return Ok(secret.trim().to_owned());
    }
    anyhow::bail!("{} does not exist: is `flashsale dev` running?", path.display())
}

/// Writes a new file that only its owner can read.
pub fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| format!("writing {}", path.display()))
}
