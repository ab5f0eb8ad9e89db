//! The data platform over Kafka: one record per message, one attempt, one outcome.
//!
//! # The protocol
//! A record is one `CloudEvent` in structured mode (header `content-type`), its key is the user. It goes to the topic
//! `{prefix}order-completed`, `{prefix}order-cancelled` or `{prefix}balance-changed`; what an order did to the balance
//! goes to `{prefix}balance-changed` as well, as an event with an id of its own. Whoever runs Kafka creates the topics.
//!
//! # Order
//! Delivered means that the in-sync replicas have every record of the batch. The forwarder sends an event only when all
//! earlier ones of its user are delivered or given up, so in the partition of a user the first copy of an event comes
//! before the first copy of a later one, whatever became of the tries in between. (The partition is that of the key; it
//! changes when a topic gets more partitions.) A batch must not hold two events of one user: its records are
//! acknowledged one by one, and the second one alone would overtake the first.
//!
//! A try that was not acknowledged may have been written all the same, and the next one then appends a copy, with the
//! same id. What is still in the queue when the time is up stays there until its own time is up (`message.timeout.ms`):
//! to purge the queue would hit other lanes' batches. Such a record comes before its next try, for the queue is first
//! in, first out per partition, and the idempotent producer keeps that order over everything that it repeats. Only when
//! one producer takes the place of another (after a fatal error, or in another process), a request of the old one that
//! the network held back can arrive after those of the new one: a late copy, whose id was there already.
//!
//! Between topics, Kafka knows no order; `sequence` tells it.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::{DeliveryFuture, FutureProducer};
use rdkafka::producer::{FutureRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::{Instant, sleep, timeout_at};

use super::message::{Message, Topic};
use super::sink::Outcome;
use crate::config::Config;
use crate::engine::user::UserId;

const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// How long a record waits for others to go with it.
const LINGER: Duration = Duration::from_millis(5);

/// The producer would read a longer one as another one, beyond 32 bits.
const TIMEOUT_MAX: Duration = Duration::from_hours(1);

/// The producer looks only once a second for records whose time is up; it gets so much longer to say so, and why.
const GRACE: Duration = Duration::from_secs(2);

/// Pause before a record is put into a full queue again.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// Longest time for a connection to stand, and longest pause before the next one: a broker that is back is used soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long the producer believes what it knows of the topics: one that it may not write to, say.
const TOPICS_REFRESH: Duration = Duration::from_mins(1);

/// Records and bytes that wait for Kafka at most, of all lanes; beyond it the lanes wait.
const QUEUE_RECORDS_MAX: usize = 100_000;
const QUEUE_KIB_MAX: usize = 64 * 1024;

/// Bytes of records that go together; a larger one goes alone. Far below what brokers take (1 MiB, if not told
/// otherwise): they refuse all of them or none, and only a record that is too large itself shall be refused.
const TOGETHER_BYTES_MAX: usize = 128 * 1024;

/// Characters of the longest topic that Kafka allows.
const TOPIC_CHARS_MAX: usize = 249;

type Producer = FutureProducer<Listener>;

/// Kafka, as the forwarder sends to it.
pub struct Kafka {
    settings: ClientConfig,
    listener: Listener,
    /// Replaced when it is broken for good.
    producer: Mutex<Producer>,
    /// For one batch, from the first record to the last acknowledgement.
    timeout: Duration,
    prefix: String,
    /// Names the shop in every message.
    source: String,
}

impl Kafka {
    /// Checks the settings and starts to connect; waits for nothing.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let (timeout, prefix) = (config.kafka_timeout_ms, config.kafka_topic_prefix.clone());
        anyhow::ensure!(
            config.kafka_brokers.split(',').all(is_broker),
            "kafka_brokers: must be host:port, comma separated"
        );
        // To the producer, 0 would mean forever.
        anyhow::ensure!(
            timeout > LINGER && timeout <= TIMEOUT_MAX,
            "kafka_timeout_ms: must be above {}, and at most {}",
            LINGER.as_millis(),
            TIMEOUT_MAX.as_millis()
        );
        let longest = Topic::ALL.map(|topic| topic.as_str().len()).into_iter().max().unwrap_or_default();
        let is_plain = prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        anyhow::ensure!(
            is_plain && prefix.len() + longest <= TOPIC_CHARS_MAX,
            "kafka_topic_prefix: must have at most {} characters, of A-Za-z0-9_.-",
            TOPIC_CHARS_MAX - longest
        );
        Self::with(settings(config), timeout, prefix, format!("/{}", config.redis_namespace))
    }

    fn with(settings: ClientConfig, timeout: Duration, prefix: String, source: String) -> anyhow::Result<Self> {
        let listener = Listener::default();
        let producer = Mutex::new(settings.create_with_context(listener.clone())?);
        Ok(Self { settings, listener, producer, timeout, prefix, source })
    }

    /// Sends them once, in their order, and waits until Kafka has all of them, or the time is up.
    pub async fn send(&self, messages: &[Message]) -> Outcome {
        let producer = match self.producer() {
            Ok(producer) => producer,
            Err(error) => return Outcome::Unavailable { reason: error.to_string(), pause: None },
        };
        let failures = self.deliver(&producer, messages).await;
        release(producer);
        self.outcome(&failures)
    }

    /// The producer, or a new one if it had a fatal error: after that, it refuses everything.
    fn producer(&self) -> KafkaResult<Producer> {
        let mut producer = locked(&self.producer);
        if let Some((code, why)) = producer.client().fatal_error() {
            tracing::warn!(%code, why, "the Kafka producer is broken; making a new one");
            let new = self.settings.create_with_context(self.listener.clone())?;
            release(mem::replace(&mut producer, new));
        }
        Ok(producer.clone())
    }

    /// What was not delivered: the topic, and why.
    async fn deliver(&self, producer: &Producer, messages: &[Message]) -> Vec<(String, KafkaError)> {
        let deadline = Instant::now() + self.timeout + GRACE;
        let (mut deliveries, mut failures) = (Vec::new(), Vec::new());
        for Record { topic, user, json } in messages.iter().flat_map(|message| self.records(message)) {
            match enqueue(producer, &topic, user, &json, deadline).await {
                Ok(delivery) => deliveries.push((topic, delivery)),
                Err(error) => {
                    failures.push((topic, error));
                    break;
                }
            }
        }
        // After a failure too: what is in the queue should not be there still when the batch is sent again.
        for (topic, delivery) in deliveries {
            let error = match timeout_at(deadline, delivery).await {
                Ok(Ok(Ok(_))) => continue,
                Ok(Ok(Err((error, _)))) => error,
                Ok(Err(_)) => KafkaError::Canceled,
                Err(_) => KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut),
            };
            failures.push((topic, error));
        }
        failures
    }

    /// What a message is in Kafka.
    fn records<'a>(&self, message: &'a Message) -> Vec<Record<'a>> {
        let record = |topic: Topic, json| {
            let topic = format!("{}{}", self.prefix, topic.as_str());
            Record { topic, user: message.user(), json }
        };
        let mut json = Vec::new();
        message.write_json(&self.source, &mut json);
        let mut records = vec![record(message.topic(), json)];
        if message.topic() != Topic::BalanceChanged {
            records.extend(message.balance_json(&self.source).map(|json| record(Topic::BalanceChanged, json)));
        }
        records
    }

    /// A record that Kafka does not want counts first: others may have failed because of it.
    fn outcome(&self, failures: &[(String, KafkaError)]) -> Outcome {
        if let Some((topic, error)) = failures.iter().find(|(_, error)| is_refusal(error)) {
            return Outcome::Refused(format!("{topic}: {}", describe(error)));
        }
        let mut trouble = locked(&self.listener.trouble);
        let Some((topic, error)) = failures.first() else {
            trouble.clear();
            return Outcome::Delivered;
        };
        let error = describe(error);
        let reason =
            if trouble.is_empty() { format!("{topic}: {error}") } else { format!("{topic}: {error}; {trouble}") };
        Outcome::Unavailable { reason, pause: None }
    }
}

/// The producer itself would pass over one that it cannot read.
fn is_broker(text: &str) -> bool {
    let is_host = |host: &str| !host.is_empty() && !host.contains(|c: char| c == '/' || c.is_whitespace());
    text.trim().rsplit_once(':').is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok())
}

struct Record<'a> {
    topic: String,
    user: &'a UserId,
    json: Vec<u8>,
}

fn settings(config: &Config) -> ClientConfig {
    let timeout = config.kafka_timeout_ms;
    // The producer asks for its own id, and for who leads what, in requests of their own.
    let request_timeout = timeout.clamp(Duration::from_secs(1), Duration::from_mins(1));
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", &config.kafka_brokers)
        .set("client.id", "flashsale")
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // A user's records are where every Java client looks for them, or puts its own.
        .set("partitioner", "murmur2_random")
        .set("compression.type", "lz4")
        .set("linger.ms", ms(LINGER))
        .set("batch.size", TOGETHER_BYTES_MAX.to_string())
        .set("queue.buffering.max.messages", QUEUE_RECORDS_MAX.to_string())
        .set("queue.buffering.max.kbytes", QUEUE_KIB_MAX.to_string())
        .set("message.timeout.ms", ms(timeout))
        .set("socket.timeout.ms", ms(request_timeout))
        .set("socket.connection.setup.timeout.ms", ms(CONNECT_TIMEOUT))
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.max.ms", ms(RECONNECT_PAUSE_MAX))
        .set("topic.metadata.refresh.interval.ms", ms(TOPICS_REFRESH))
        // A topic that is missing is told as such before the time is up.
        .set("topic.metadata.propagation.max.ms", ms(timeout / 2))
        // Brokers close what is idle; a batch that fails says so itself.
        .set("log.connection.close", "false")
        .set_log_level(RDKafkaLogLevel::Info);
    settings
}

fn ms(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// Puts a record into the queue; while that is full, waits until `deadline` for it to have room.
async fn enqueue(
    producer: &Producer,
    topic: &str,
    user: &UserId,
    json: &[u8],
    deadline: Instant,
) -> KafkaResult<DeliveryFuture> {
    let headers = OwnedHeaders::new_with_capacity(1);
    let headers = headers.insert(Header { key: "content-type", value: Some(CONTENT_TYPE) });
    let mut record = FutureRecord::to(topic).key(user.as_str()).payload(json).headers(headers);
    loop {
        match producer.send_result(record) {
            Ok(delivery) => return Ok(delivery),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), full)) if Instant::now() < deadline => {
                record = full;
            }
            Err((error, _)) => return Err(error),
        }
        sleep(FULL_PAUSE).await;
    }
}

/// Whether it blames the record itself. [`InvalidDifferentRecord`](RDKafkaErrorCode::InvalidDifferentRecord) blames
/// another one that went with it, perhaps of another lane.
fn is_refusal(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{InvalidRecord, MessageBatchTooLarge, MessageSizeTooLarge};
    matches!(error.rdkafka_error_code(), Some(MessageSizeTooLarge | MessageBatchTooLarge | InvalidRecord))
}

fn describe(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string())
}

/// Gives a clone back. The last one of a broken producer waits for its threads to end: not on a thread of the runtime.
fn release(producer: Producer) {
    if producer.client().fatal_error().is_some() {
        tokio::task::spawn_blocking(move || drop(producer));
    }
}

/// Nothing that is kept here can be left half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hears what the client says unasked, on its own threads.
#[derive(Clone, Default)]
struct Listener {
    /// What it complained about last, since something was delivered: a record only knows that its time is up.
    trouble: Arc<Mutex<String>>,
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match level {
            RDKafkaLogLevel::Debug => tracing::trace!(facility, "Kafka: {text}"),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => tracing::debug!(facility, "Kafka: {text}"),
            _ => tracing::warn!(facility, "Kafka: {text}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // It comes after what was wrong with each of them, and says less.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            reason.clone_into(&mut locked(&self.trouble));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use rdkafka::consumer::{Consumer as _, StreamConsumer};
    use rdkafka::message::{Headers as _, Message as _};
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    use rdkafka::{Offset, TopicPartitionList};
    use serde_json::Value;

    use super::*;
    use crate::config::Source;
    use crate::engine::event::{BalanceCharged, Event, OrderConfirmed, OrderLine};
    use crate::engine::ids::CellId;
    use crate::engine::op::PaymentMethod;

    /// For what is to be delivered at the first try.
    const PATIENT: Duration = Duration::from_secs(10);
    /// For what is to fail.
    const BRIEF: Duration = Duration::from_secs(1);
    const PARTITIONS: i32 = 3;

    /// Brokers that exist in this process only, and what they have.
    struct Cluster {
        mock: MockCluster<'static, DefaultProducerContext>,
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Stored {
        topic: String,
        partition: i32,
        key: String,
        value: Vec<u8>,
        headers: Vec<(String, String)>,
    }

    impl Stored {
        fn id(&self) -> String {
            let value: Value = serde_json::from_slice(&self.value).expect("JSON");
            value["id"].as_str().expect("an id").to_owned()
        }
    }

    impl Cluster {
        fn new() -> Self {
            let mock = MockCluster::new(1).expect("a cluster");
            for topic in Topic::ALL {
                mock.create_topic(&format!("shop.{}", topic.as_str()), PARTITIONS, 1).expect("a topic");
            }
            Self { mock }
        }

        fn sink(&self, timeout: Duration) -> Kafka {
            Kafka::new(&config(&self.mock.bootstrap_servers(), timeout)).expect("valid settings")
        }

        /// Everything in a topic, partition by partition.
        async fn stored(&self, topic: Topic) -> Vec<Stored> {
            let consumer: StreamConsumer = ClientConfig::new()
                .set("bootstrap.servers", self.mock.bootstrap_servers())
                .set("group.id", "test")
                .set("enable.partition.eof", "true")
                .set("fetch.wait.max.ms", "10")
                .create()
                .expect("a consumer");
            let mut partitions = TopicPartitionList::new();
            let topic = format!("shop.{}", topic.as_str());
            for partition in 0..PARTITIONS {
                partitions.add_partition_offset(&topic, partition, Offset::Beginning).expect("a partition");
            }
            consumer.assign(&partitions).expect("they exist");
            let (mut stored, mut ends) = (Vec::new(), 0);
            while ends < PARTITIONS {
                let received = tokio::time::timeout(Duration::from_secs(5), consumer.recv()).await.expect("in time");
                let message = match received {
                    Ok(message) => message.detach(),
                    Err(KafkaError::PartitionEOF(_)) => {
                        ends += 1;
                        continue;
                    }
                    Err(error) => panic!("{error}"),
                };
                let text =
                    |bytes: Option<&[u8]>| String::from_utf8(bytes.expect("there is one").to_vec()).expect("a text");
                stored.push(Stored {
                    topic: message.topic().to_owned(),
                    partition: message.partition(),
                    key: text(message.key()),
                    value: message.payload().expect("a value").to_vec(),
                    headers: message
                        .headers()
                        .expect("headers")
                        .iter()
                        .map(|header| (header.key.to_owned(), text(header.value)))
                        .collect(),
                });
            }
            stored.sort_by_key(|stored| stored.partition);
            stored
        }
    }

    fn config(brokers: &str, timeout: Duration) -> Config {
        let timeout = timeout.as_millis().to_string();
        let env = [
            ("REDIS_URL", "redis://127.0.0.1:1"),
            ("DATABASE_URL", "postgres://u:pw@127.0.0.1/d"),
            ("JWT_SECRET", "0123456789abcdef0123456789abcdef"),
            ("KAFKA_BROKERS", brokers),
            ("KAFKA_TOPIC_PREFIX", "shop."),
            ("KAFKA_TIMEOUT_MS", &timeout),
        ];
        let env = env.map(|(name, value)| (format!("FLASHSALE_{name}"), value.to_owned()));
        Config::load(&Source::new(env, None)).expect("valid settings")
    }

    fn message(event: Event) -> Message {
        Message::of_event(CellId::new(0).expect("a cell"), event).expect("the platform is told of it")
    }

    fn charge(seq: u64, user: &str) -> Message {
        let user = UserId::parse(user).expect("a user");
        message(Event::BalanceCharged(BalanceCharged { seq, at: 0, user, amount: 5, previous: 0, balance: 5, used: 0 }))
    }

    fn order(seq: u64, user: &str, product: &str) -> Message {
        let name = product.to_owned();
        message(Event::OrderConfirmed(OrderConfirmed {
            seq,
            at: 0,
            user: UserId::parse(user).expect("a user"),
            day: "2026-01-01".to_owned(),
            total: 5,
            discount: 0,
            final_amount: 5,
            method: PaymentMethod::Balance,
            address: None,
            balance: 0,
            used: 5,
            items: vec![OrderLine { product: 1, name, price: 5, quantity: 1, discount: 0, counted: None }],
            coupons: None,
            cart: None,
        }))
    }

    fn json(message: &Message) -> Vec<u8> {
        let mut json = Vec::new();
        message.write_json("/flashsale", &mut json);
        json
    }

    fn reason(outcome: Outcome) -> String {
        match outcome {
            Outcome::Unavailable { reason, pause: None } => reason,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_record_has_the_topic_the_user_and_the_event() {
        let cluster = Cluster::new();
        let (bought, charged) = (order(7, "ann", "milk"), charge(8, "bob"));
        assert_eq!(cluster.sink(PATIENT).send(&[bought.clone(), charged.clone()]).await, Outcome::Delivered);

        let headers = [("content-type".to_owned(), CONTENT_TYPE.to_owned())];
        let orders = cluster.stored(Topic::OrderCompleted).await;
        assert_eq!(orders.len(), 1);
        assert_eq!((orders[0].key.as_str(), &orders[0].value), ("ann", &json(&bought)));
        assert_eq!(orders[0].headers, headers);

        let mut balances = cluster.stored(Topic::BalanceChanged).await;
        balances.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(balances.len(), 2);
        let of_order = bought.balance_json("/flashsale").expect("it was paid from the balance");
        assert_eq!((balances[0].key.as_str(), &balances[0].value), ("ann", &of_order));
        assert_eq!((balances[1].key.as_str(), &balances[1].value), ("bob", &json(&charged)));
        assert!(balances.iter().all(|stored| stored.headers == headers));
        assert_eq!(cluster.stored(Topic::OrderCancelled).await, []);
    }

    #[tokio::test]
    async fn a_user_has_one_partition_and_his_events_their_order() {
        let cluster = Cluster::new();
        let sink = cluster.sink(PATIENT);
        let users = ["ann", "bob", "cid", "dan", "eve", "fay"];
        for round in 0..10 {
            let batch: Vec<Message> = (1..).zip(users).map(|(seq, user)| charge(round * 100 + seq, user)).collect();
            assert_eq!(sink.send(&batch).await, Outcome::Delivered);
        }
        let mut of_users: HashMap<String, Vec<(i32, u64)>> = HashMap::new();
        for stored in cluster.stored(Topic::BalanceChanged).await {
            let seq = stored.id().parse().expect("a number");
            of_users.entry(stored.key).or_default().push((stored.partition, seq));
        }
        for (seq, user) in (1..).zip(users) {
            let stored = &of_users[user];
            let partition = stored[0].0;
            let expected: Vec<(i32, u64)> = (0..10).map(|round| (partition, round * 100 + seq)).collect();
            assert_eq!(*stored, expected, "{user}");
        }
        let partitions: HashSet<i32> = of_users.values().map(|stored| stored[0].0).collect();
        assert!(partitions.len() > 1, "every user is in the same partition");
    }

    #[tokio::test]
    async fn what_is_acknowledged_too_late_is_sent_again_under_the_same_ids_and_before_what_comes_later() {
        let cluster = Cluster::new();
        let sink = cluster.sink(BRIEF);
        deliver(&sink, &[charge(6, "bob")]).await;
        let (bought, charged) = (order(7, "ann", "milk"), charge(8, "ann"));
        cluster.mock.broker_round_trip_time(-1, 3 * BRIEF).expect("it is up");
        let unsure = sink.send(std::slice::from_ref(&bought)).await;
        assert!(reason(unsure).contains("timed out"));
        cluster.mock.broker_round_trip_time(-1, Duration::ZERO).expect("it is up");
        deliver(&sink, &[bought]).await;
        deliver(&sink, &[charged]).await;

        let orders = cluster.stored(Topic::OrderCompleted).await;
        assert!(!orders.is_empty() && orders.iter().all(|stored| stored.id() == "7"));
        let mut balances = cluster.stored(Topic::BalanceChanged).await;
        balances.retain(|stored| stored.key == "ann");
        let balances: Vec<String> = balances.iter().map(Stored::id).collect();
        let (last, others) = balances.split_last().expect("some");
        assert!(last == "8" && !others.is_empty() && others.iter().all(|id| id == "7-balance"), "{balances:?}");
    }

    /// As the forwarder does: until it is delivered.
    async fn deliver(sink: &Kafka, batch: &[Message]) {
        let mut outcomes = Vec::new();
        for _ in 0..5 {
            outcomes.push(sink.send(batch).await);
            if outcomes.last() == Some(&Outcome::Delivered) {
                return;
            }
        }
        panic!("{outcomes:?}");
    }

    #[tokio::test]
    async fn a_broker_that_goes_and_comes_back_is_used_again() {
        let cluster = Cluster::new();
        let sink = cluster.sink(BRIEF);
        deliver(&sink, &[charge(1, "ann")]).await;
        cluster.mock.broker_down(-1).expect("it was up");
        let started = Instant::now();
        let down = reason(sink.send(&[charge(2, "ann")]).await);
        assert!(down.starts_with("shop.balance-changed: ") && down.contains("timed out"), "{down}");
        assert!(started.elapsed() < BRIEF + GRACE + BRIEF, "{:?}", started.elapsed());
        cluster.mock.broker_up(-1).expect("it was down");
        deliver(&sink, &[charge(2, "ann")]).await;
        let ids: Vec<String> = cluster.stored(Topic::BalanceChanged).await.iter().map(Stored::id).collect();
        let (first, others) = ids.split_at(ids.iter().position(|id| id == "2").expect("it was delivered"));
        assert!(!first.is_empty() && first.iter().all(|id| id == "1") && others.iter().all(|id| id == "2"), "{ids:?}");
    }

    #[tokio::test]
    async fn without_a_broker_the_reason_says_what_is_wrong() {
        let sink = Kafka::new(&config("127.0.0.1:1", BRIEF)).expect("valid settings");
        let started = Instant::now();
        let why = reason(sink.send(&[order(7, "ann", "milk"), charge(8, "bob")]).await);
        assert!(why.contains("timed out") && why.contains("127.0.0.1:1") && why.contains("refused"), "{why}");
        assert!(started.elapsed() < BRIEF + GRACE + BRIEF, "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn a_topic_that_is_missing_is_named() {
        let cluster = Cluster::new();
        let unknown = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        cluster.mock.topic_error("shop.order-completed", unknown).expect("a topic");
        let why = reason(cluster.sink(4 * BRIEF).send(&[order(7, "ann", "milk")]).await);
        assert!(why.starts_with("shop.order-completed: ") && why.contains("nknown topic"), "{why}");
    }

    #[tokio::test]
    async fn only_a_record_that_is_to_blame_is_refused() {
        let cluster = Cluster::new();
        let sink = cluster.sink(PATIENT);
        let large = order(7, "ann", &"x".repeat(1_100_000));
        let Outcome::Refused(why) = sink.send(&[charge(6, "bob"), large]).await else { panic!("it is too large") };
        assert!(why.starts_with("shop.order-completed: ") && why.contains("too large"), "{why}");

        let (api, full) = (RDKafkaApiKey::Produce, RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
        cluster.mock.request_errors(api, &[full]);
        let Outcome::Refused(why) = sink.send(&[charge(8, "ann")]).await else { panic!("the broker refused it") };
        assert!(why.contains("too large"), "{why}");

        // What passes is repeated by the producer itself.
        cluster.mock.request_errors(api, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS]);
        assert_eq!(sink.send(&[charge(8, "ann")]).await, Outcome::Delivered);

        cluster.mock.request_errors(api, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
        let why = reason(sink.send(&[charge(9, "ann")]).await);
        assert!(why.contains("uthorization"), "{why}");
    }

    #[tokio::test]
    async fn a_broken_producer_is_replaced() {
        let cluster = Cluster::new();
        let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
        cluster.mock.request_errors(RDKafkaApiKey::InitProducerId, &[denied]);
        let sink = cluster.sink(PATIENT);
        let why = reason(sink.send(&[charge(1, "ann")]).await);
        assert!(why.contains("uthorization"), "{why}");
        assert!(locked(&sink.producer).client().fatal_error().is_some());
        assert_eq!(sink.send(&[charge(1, "ann")]).await, Outcome::Delivered);

        let desynchronised = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        cluster.mock.request_errors(RDKafkaApiKey::Produce, &[desynchronised]);
        let why = reason(sink.send(&[charge(2, "ann")]).await);
        assert!(why.contains("sequence"), "{why}");
        assert_eq!(sink.send(&[charge(2, "ann")]).await, Outcome::Delivered);
        let ids: Vec<String> = cluster.stored(Topic::BalanceChanged).await.iter().map(Stored::id).collect();
        assert_eq!(ids, ["1", "2"]);
    }

    /// All on one thread, that of the test: whoever blocks it is found out.
    #[tokio::test(flavor = "current_thread")]
    async fn a_full_queue_makes_the_batch_wait_and_nobody_else() {
        let cluster = Cluster::new();
        let mut settings = settings(&config(&cluster.mock.bootstrap_servers(), BRIEF));
        settings.set("queue.buffering.max.messages", "2");
        let sink = Kafka::with(settings, BRIEF, "shop.".to_owned(), "/shop".to_owned()).expect("valid settings");
        let batch: Vec<Message> = (1..=9).map(|seq| charge(seq, &format!("user-{seq}"))).collect();
        deliver(&sink, &batch).await;
        let stored = cluster.stored(Topic::BalanceChanged).await;
        assert!(stored.iter().all(|stored| stored.headers.len() == 1));
        assert_eq!(stored.iter().map(|stored| &stored.key).collect::<HashSet<_>>().len(), batch.len());

        cluster.mock.broker_down(-1).expect("it was up");
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let mut longest = Duration::ZERO;
        let sending = sink.send(&batch);
        tokio::pin!(sending);
        let outcome = loop {
            let before = Instant::now();
            tokio::select! {
                outcome = &mut sending => break outcome,
                _ = ticks.tick() => longest = longest.max(before.elapsed()),
            }
        };
        assert!(!reason(outcome).is_empty());
        assert!(longest < BRIEF, "{longest:?}");
    }

    #[tokio::test]
    async fn settings_that_cannot_work_are_refused() {
        let with = |change: fn(&mut Config)| {
            let mut config = config("127.0.0.1:1", BRIEF);
            change(&mut config);
            Kafka::new(&config).err().map(|error| error.to_string())
        };
        assert_eq!(with(|_| ()), None);
        assert_eq!(with(|config| config.kafka_brokers = "kafka-1.local:9092, [::1]:9093".to_owned()), None);
        assert!(with(|config| config.kafka_brokers = "kafka-1.local:9092,".to_owned()).is_some());
        assert!(with(|config| config.kafka_brokers = "kafka-1.local".to_owned()).is_some());
        assert!(with(|config| config.kafka_brokers = "SSL://kafka-1.local:9093".to_owned()).is_some());
        for ms in [0, 5, 1 << 40] {
            let refused = Kafka::new(&config("127.0.0.1:1", Duration::from_millis(ms)));
            assert!(refused.err().is_some_and(|error| error.to_string().contains("timeout")), "{ms}");
        }
        assert!(with(|config| config.kafka_topic_prefix = "two words".to_owned()).is_some());
        assert!(with(|config| config.kafka_topic_prefix = "x".repeat(235)).is_some());
        assert_eq!(with(|config| config.kafka_topic_prefix = "x".repeat(234)), None);
    }
}
