//! What Redis uses, as it says itself.

use std::time::Duration;

use fred::interfaces::ClientLike;
use fred::types::InfoKind;
use metrics::gauge;

use super::client::RedisClient;
use crate::metrics as names;

/// Pause between two looks.
const WATCH_PAUSE: Duration = Duration::from_secs(5);

/// Keeps the gauges of memory and connections true, for ever.
pub async fn watch(redis: &RedisClient) {
    let (memory, clients) = (gauge!(names::REDIS_MEMORY), gauge!(names::REDIS_CLIENTS));
    loop {
        for (kind, field, gauge) in
            [(InfoKind::Memory, "used_memory", &memory), (InfoKind::Clients, "connected_clients", &clients)]
        {
            let text: Result<String, _> = redis.plain().info(Some(kind)).await;
            if let Some(value) = text.ok().and_then(|text| value_of(&text, field)) {
                gauge.set(value);
            }
        }
        tokio::time::sleep(WATCH_PAUSE).await;
    }
}

/// The number behind `field:` in the answer to INFO.
fn value_of(text: &str, field: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "# Memory\r\nused_memory_human:1.5M\r\nused_memory:1572864\r\n";
        assert_eq!(value_of(text, "used_memory"), Some(1_572_864.0));
        assert_eq!(value_of(text, "used"), None);
    }
}
