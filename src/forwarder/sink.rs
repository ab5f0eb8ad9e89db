//! Where events go.

use std::fmt;
use std::time::Duration;

use super::message::Message;
use super::platform::Platform;
use crate::config::Config;

/// What came of sending a batch. It counts as delivered as a whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is there.
    Delivered,
    /// The sink is up and does not want these: sending them as they are will not help. Says why.
    Refused(String),
    /// Anything may have happened, or nothing; it is not about these events.
    Unavailable {
        /// Why, for operators.
        reason: String,
        /// The sink asked to be left alone for so long.
        pause: Option<Duration>,
    },
}

/// A kind of sink; its name in settings, tables and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// The data platform, over HTTP.
    Platform,
    /// The data platform, over Kafka.
    Kafka,
}

impl SinkKind {
    /// As tables and metrics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Kafka => "kafka",
        }
    }

    /// The sinks that are configured.
    pub fn configured(config: &Config) -> Vec<Self> {
        let mut kinds = Vec::new();
        if !config.platform_url.is_empty() {
            kinds.push(Self::Platform);
        }
        if !config.kafka_brokers.is_empty() {
            kinds.push(Self::Kafka);
        }
        kinds
    }
}

impl fmt::Display for SinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A sink that events can be sent to.
pub enum Sink {
    /// Over HTTP.
    Platform(Platform),
    /// Over Kafka.
    #[cfg(feature = "kafka")]
    Kafka(super::kafka::Kafka),
}

impl Sink {
    /// Checks the settings; waits for nothing.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(kind: SinkKind, config: &Config) -> anyhow::Result<Self> {
        match kind {
            SinkKind::Platform => Platform::new(config).map(Self::Platform),
            #[cfg(feature = "kafka")]
            SinkKind::Kafka => super::kafka::Kafka::new(config).map(Self::Kafka),
            #[cfg(not(feature = "kafka"))]
            SinkKind::Kafka => anyhow::bail!("kafka_brokers: this service was built without the feature kafka"),
        }
    }

    /// Whether it could take the second event of a user without the first.
    pub fn is_one_per_user(&self) -> bool {
        match self {
            Self::Platform(_) => false,
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => true,
        }
    }

    /// Sends a batch once, in its order.
    pub async fn send(&self, messages: &[Message]) -> Outcome {
        match self {
            Self::Platform(platform) => platform.send(messages).await,
            #[cfg(feature = "kafka")]
            Self::Kafka(kafka) => kafka.send(messages).await,
        }
    }
}
