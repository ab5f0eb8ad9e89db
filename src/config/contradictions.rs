//! What settings may be, and may not be together.

use std::time::Duration;

use super::{Config, JwtAlgorithm};
use crate::outbound;

/// Shorter, and a blocking read would not block, and a loaded machine would look dead.
const REDIS_TIMEOUT_MIN: Duration = Duration::from_millis(50);

/// Events in one request, and requests at once, at most: what a platform can be expected to take, and memory to hold.
const FORWARD_MAX: usize = 1_000;

/// Pauses and timeouts of what is forwarded: none may be a loop without a pause, or for ever.
const FORWARD_PAUSE_MIN: Duration = Duration::from_millis(10);
const FORWARD_PAUSE_MAX: Duration = Duration::from_hours(1);

/// Longest pause before another try.
const RETRY_PAUSE_MAX: Duration = Duration::from_hours(720);

impl Config {
    /// Errors that no setting has alone.
    pub(super) fn contradictions(&self) -> Vec<String> {
        let mut errors = Vec::new();
        match self.jwt_algorithm {
            JwtAlgorithm::Hs256 if self.jwt_secret.expose().len() < 32 => {
                errors.push("jwt_secret: HS256 needs a secret of at least 32 bytes".to_owned());
            }
            JwtAlgorithm::EdDsa if self.jwt_public_key_file.as_os_str().is_empty() => {
                errors.push("jwt_public_key_file: EdDSA needs the PEM file of a public key".to_owned());
            }
            _ => {}
        }
        // A payment over the gateway is two ops with up to two calls in between: is it known, and if not, charge. A call of Redis may take three times its timeout:
        // itself, loading the library, itself again.
        let op_longest = self.http_body_timeout_ms
            + 2 * self.op_deadline_ms
            + 3 * self.redis_timeout_ms
            + 2 * self.gateway_timeout_ms;
        if self.http_handler_timeout_ms < op_longest {
            errors.push(format!(
                "http_handler_timeout_ms: must be at least http_body_timeout_ms + 2 * op_deadline_ms + 3 * redis_timeout_ms + 2 * gateway_timeout_ms, {}",
                op_longest.as_millis()
            ));
        }
        if self.cancel_window_ms >= Duration::from_hours(24) {
            errors.push("cancel_window_ms: must be below 86400000 (24 h)".to_owned());
        }
        if self.reservation_ttl_ms.is_zero() || self.gateway_recovery_ms < self.gateway_timeout_ms {
            errors.push("reservation_ttl_ms: above 0; gateway_recovery_ms: at least gateway_timeout_ms".to_owned());
        }
        if jiff::tz::TimeZone::get(&self.business_timezone).is_err() {
            errors.push(format!("business_timezone: {:?} is no IANA time zone", self.business_timezone));
        }
        // It is a part of every key, here and at the gateway; braces would move the cell's hash tag.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        if !(1..=64).contains(&self.redis_namespace.len()) || !self.redis_namespace.bytes().all(plain) {
            errors.push("redis_namespace: must have 1 to 64 characters of A-Za-z0-9_.-".to_owned());
        }
        let positive = [
            ("lane_ops_max", self.lane_ops_max),
            ("lane_batches_in_flight_max", self.lane_batches_in_flight_max),
            ("lane_next_batch_ops_min", self.lane_next_batch_ops_min),
            ("lane_queue_max", self.lane_queue_max),
            ("http_connections_max", self.http_connections_max),
            ("writer_events_max", self.writer_events_max),
            ("gateway_in_flight_max", self.gateway_in_flight_max),
            ("sweep_batch_max", self.sweep_batch_max),
            ("forward_waiting_max", self.forward_waiting_max),
            ("database_connections_max", self.database_connections_max),
        ];
        errors.extend(positive.iter().filter(|(_, n)| *n == 0).map(|(name, _)| format!("{name}: must be above 0")));
        for (name, amount) in
            [("charge_max", self.charge_max), ("balance_max", self.balance_max), ("charge_unit", self.charge_unit)]
        {
            if !(1..1 << 53).contains(&amount) {
                errors.push(format!("{name}: must be from 1 to 2^53 - 1"));
            }
        }
        if !(1..=1_000_000).contains(&self.order_quantity_max) {
            errors.push("order_quantity_max: must be from 1 to 1000000".to_owned());
        }
        errors.extend(self.forwarding_contradictions());
        errors.extend(self.dev_contradictions());
        if self.redis_timeout_ms < REDIS_TIMEOUT_MIN {
            errors.push(format!("redis_timeout_ms: must be at least {}", REDIS_TIMEOUT_MIN.as_millis()));
        }
        if self.instance_dead_after_ms < 3 * self.heartbeat_ms {
            errors.push("instance_dead_after_ms: must be at least three times heartbeat_ms".to_owned());
        }
        if self.http_header_bytes_max < 8192 {
            errors.push("http_header_bytes_max: must be at least 8192".to_owned());
        }
        if !(500..=7000).contains(&self.lane_fields_max) {
            errors.push("lane_fields_max: must be from 500 to 7000".to_owned());
        }
        errors
    }

    /// Of what is for development only.
    fn dev_contradictions(&self) -> Vec<String> {
        // Whoever can reach them gets a token.
        let is_open = self.dev_pages && !(self.listen.ip().is_loopback() && self.ops_listen.ip().is_loopback());
        is_open.then(|| "dev_pages: listen and ops_listen must be on loopback".to_owned()).into_iter().collect()
    }

    /// Of what goes out.
    fn forwarding_contradictions(&self) -> Vec<String> {
        let mut errors = Vec::new();
        for (name, count) in [
            ("platform_batch_max", self.platform_batch_max),
            ("platform_in_flight_max", self.platform_in_flight_max),
            ("notification_batch_max", self.notification_batch_max),
        ] {
            if !(1..=FORWARD_MAX).contains(&count) {
                errors.push(format!("{name}: must be from 1 to {FORWARD_MAX}"));
            }
        }
        for (name, time) in [
            ("platform_timeout_ms", self.platform_timeout_ms),
            ("webhook_timeout_ms", self.webhook_timeout_ms),
            ("forward_interval_ms", self.forward_interval_ms),
            ("breaker_open_ms", self.breaker_open_ms),
        ] {
            if !(FORWARD_PAUSE_MIN..=FORWARD_PAUSE_MAX).contains(&time) {
                errors.push(format!(
                    "{name}: must be from {} to {}",
                    FORWARD_PAUSE_MIN.as_millis(),
                    FORWARD_PAUSE_MAX.as_millis()
                ));
            }
        }
        if self.forward_retry_ms.0.iter().any(|pause| *pause > RETRY_PAUSE_MAX) {
            errors.push(format!("forward_retry_ms: none may be above {} (30 days)", RETRY_PAUSE_MAX.as_millis()));
        }
        let urls = [
            ("platform_url", self.platform_url.as_str()),
            ("notification_webhook", self.notification_webhook.expose()),
            ("alert_webhook", self.alert_webhook.expose()),
        ];
        for (name, url) in urls.iter().filter(|(_, url)| !url.is_empty()) {
            errors.extend(outbound::url(url, name).err().map(|error| format!("{error:#}")));
        }
        if !self.gateway_url.is_empty() {
            errors
                .extend(outbound::plain_url(&self.gateway_url, "gateway_url").err().map(|error| format!("{error:#}")));
        }
        if self.forward_retry_jitter_percent > 100 {
            errors.push("forward_retry_jitter_percent: must be from 0 to 100".to_owned());
        }
        if !self.kafka_brokers.is_empty() && cfg!(not(feature = "kafka")) {
            errors.push("kafka_brokers: this service was built without the feature kafka".to_owned());
        }
        errors
    }
}
