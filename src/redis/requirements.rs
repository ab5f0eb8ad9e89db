//! What Redis must be set to for the promises to hold. Checked again whenever a cell is looked at: a setting can change
//! while the server runs.

use fred::interfaces::ConfigInterface;

use super::client::RedisClient;

/// Setting, required value and why.
const REQUIRED: [(&str, &str, &str); 5] = [
    ("appendonly", "yes", "a restart would lose answered orders"),
    ("appendfsync", "always", "a crash would lose answered orders"),
    ("no-appendfsync-on-rewrite", "no", "while the log is rewritten nothing would be on disk before its answer"),
    ("maxmemory-policy", "noeviction", "idempotency records would be evicted first"),
    ("lazyfree-lazy-expire", "yes", "a day's records expiring would block every order for almost a second"),
];

/// One sentence per setting that is wrong or cannot be read and is not waived; empty when all is well. `None` when Redis did not answer.
pub async fn unmet(redis: &RedisClient, waived: &str) -> Option<Vec<String>> {
    let waived: Vec<&str> = waived.split(',').map(str::trim).collect();
    let mut problems = Vec::new();
    for (name, required, why) in REQUIRED {
        if waived.contains(&name) {
            continue;
        }
        if !redis.is_connected() {
            return None;
        }
        let answer: Result<Vec<String>, _> = redis.plain().config_get(name).await;
        match answer {
            Ok(pair) => match pair.get(1) {
                Some(value) if value == required => {}
                Some(value) => problems.push(format!("Redis has {name} {value}, needed is {required}: {why}")),
                None => problems.push(format!("Redis does not tell {name}, needed is {required}")),
            },
            Err(error) if matches!(error.kind(), fred::error::ErrorKind::Unknown) => {
                problems.push(format!("Redis does not tell {name} ({}), needed is {required}", error.details()));
            }
            Err(_) => return None,
        }
    }
    Some(problems)
}
