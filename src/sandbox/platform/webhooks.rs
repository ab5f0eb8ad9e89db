//! What the played data platform was told over webhooks: notices and alerts.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::NoRoom;

/// Calls that are remembered.
const CALLS_MAX: usize = 100_000;

/// Bytes of them all: names, ids and bodies.
const BYTES_MAX: usize = 256 * 1024 * 1024;

/// One call, as it came first.
#[derive(Debug)]
struct Webhook {
    id: Option<Arc<str>>,
    body: Box<[u8]>,
    arrivals: u64,
    created_at: Timestamp,
}

impl Webhook {
    fn view(&self) -> WebhookView<'_> {
        WebhookView {
            id: self.id.as_deref(),
            body: serde_json::from_slice(&self.body).expect("only JSON is taken"),
            arrivals: self.arrivals,
            created_at: self.created_at,
        }
    }
}

/// Everything under one name, in order of first arrival.
#[derive(Debug, Default)]
struct Inbox {
    webhooks: Vec<Webhook>,
    by_id: HashMap<Arc<str>, usize>,
}

/// One call in `GET /platform/webhooks/{name}`.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WebhookView<'a> {
    /// The header `webhook-id`, if there was one.
    id: Option<&'a str>,
    body: Value,
    /// How often the id was taken; 1 when there is none.
    arrivals: u64,
    /// Of the first arrival.
    created_at: Timestamp,
}

/// Everything that came, by name.
#[derive(Debug)]
pub(super) struct Webhooks {
    inboxes: HashMap<String, Inbox>,
    remembered: usize,
    bytes: usize,
    calls_max: usize,
    bytes_max: usize,
}

impl Webhooks {
    /// None.
    pub(super) fn new() -> Self {
        let (calls_max, bytes_max) = (CALLS_MAX, BYTES_MAX);
        Self { inboxes: HashMap::new(), remembered: 0, bytes: 0, calls_max, bytes_max }
    }

    /// Takes one call; `body` is JSON. A known id is counted, and changes nothing else.
    pub(super) fn take(&mut self, name: &str, id: Option<&str>, body: &[u8], now: Timestamp) -> Result<(), NoRoom> {
        if let Some(id) = id
            && let Some(known) = self.find(name, id)
        {
            known.arrivals += 1;
            return Ok(());
        }
        let bytes = self.bytes + name.len() + id.map_or(0, str::len) + body.len();
        if self.remembered >= self.calls_max || bytes > self.bytes_max {
            return Err(NoRoom);
        }
        self.remembered += 1;
        self.bytes = bytes;
        let inbox = self.inboxes.entry(name.to_owned()).or_default();
        let id: Option<Arc<str>> = id.map(Arc::from);
        if let Some(id) = &id {
            inbox.by_id.insert(id.clone(), inbox.webhooks.len());
        }
        inbox.webhooks.push(Webhook { id, body: body.into(), arrivals: 1, created_at: now });
        Ok(())
    }

    fn find(&mut self, name: &str, id: &str) -> Option<&mut Webhook> {
        let inbox = self.inboxes.get_mut(name)?;
        let index = inbox.by_id.get(id)?;
        inbox.webhooks.get_mut(*index)
    }

    /// What came under a name, newest last.
    pub(super) fn view(&self, name: &str) -> Vec<WebhookView<'_>> {
        let webhooks = self.inboxes.get(name).into_iter().flat_map(|inbox| &inbox.webhooks);
        webhooks.map(Webhook::view).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn calls_are_remembered_by_name_and_counted_by_id() {
        let mut webhooks = Webhooks::new();
        for (name, id, body) in [
            ("alerts", Some("a"), r#"{"n":1}"#),
            ("alerts", None, "2"),
            ("notices", Some("a"), "3"),
            ("alerts", Some("a"), "4"),
            ("alerts", None, "2"),
        ] {
            assert_eq!(webhooks.take(name, id, body.as_bytes(), NOW), Ok(()));
        }
        let view = |id, body, arrivals| WebhookView { id, body, arrivals, created_at: NOW };
        let alerts = [view(Some("a"), json!({"n": 1}), 2), view(None, json!(2), 1), view(None, json!(2), 1)];
        assert_eq!(webhooks.view("alerts"), alerts);
        assert_eq!(webhooks.view("notices"), [view(Some("a"), json!(3), 1)]);
        assert!(webhooks.view("other").is_empty());
    }

    #[test]
    fn there_is_room_for_so_many_calls_and_bytes_and_always_for_known_ids() {
        let mut webhooks = Webhooks { calls_max: 2, ..Webhooks::new() };
        assert_eq!(webhooks.take("alerts", Some("a"), b"1", NOW), Ok(()));
        assert_eq!(webhooks.take("notices", None, b"1", NOW), Ok(()));
        assert_eq!(webhooks.take("alerts", None, b"1", NOW), Err(NoRoom));
        assert_eq!(webhooks.take("alerts", Some("a"), b"1", NOW), Ok(()));

        let mut webhooks = Webhooks { bytes_max: 9, ..Webhooks::new() };
        assert_eq!(webhooks.take("alerts", Some("a"), b"123", NOW), Err(NoRoom));
        assert_eq!(webhooks.take("alerts", Some("a"), b"12", NOW), Ok(()));
        assert_eq!(webhooks.take("a", None, b"", NOW), Err(NoRoom));
        assert_eq!(webhooks.take("alerts", Some("a"), b"12", NOW), Ok(()));
    }
}
