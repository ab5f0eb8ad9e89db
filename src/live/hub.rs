//! Who watches: one sampler for all of them, and nobody waits for the slowest.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Pages that may watch at once.
pub const VIEWERS_MAX: usize = 64;

/// A viewer who has taken nothing for so long is counted out: his laptop is closed, or his network gone.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// What a stream starts with: when to come back should it break off, in ms.
const HELLO: &[u8] = b"retry: 2000\n\n";

/// What a stream ends with when the process stops.
const FAREWELL: &[u8] = b"event: end\ndata: {}\n\n";

/// What viewers and the sampler share.
pub(super) struct Hub {
    /// The newest snapshot, as it is sent. Who is slow finds the newest only: nothing piles up.
    latest: watch::Sender<Option<Bytes>>,
    viewers: Mutex<Viewers>,
    /// Cancelled when the process stops.
    pub(super) closed: CancellationToken,
}

#[derive(Default)]
struct Viewers {
    last_id: u64,
    /// When each of them took something last.
    seen: HashMap<u64, Instant>,
    sampler: Option<JoinHandle<()>>,
}

impl Viewers {
    fn count_out_stalled(&mut self, now: Instant) {
        self.seen.retain(|_, seen| now.saturating_duration_since(*seen) < STALLED_AFTER);
    }
}

impl Hub {
    /// With nobody watching.
    pub(super) fn new() -> Arc<Self> {
        let (latest, _) = watch::channel(None);
        Arc::new(Self { latest, viewers: Mutex::default(), closed: CancellationToken::new() })
    }

    /// One viewer more, and a sampler if there is none; an error says why not.
    pub(super) fn join(
        self: &Arc<Self>,
        now: Instant,
        start_sampler: impl FnOnce() -> JoinHandle<()>,
    ) -> Result<Viewer, &'static str> {
        if self.closed.is_cancelled() {
            return Err("this process is stopping");
        }
        let mut viewers = self.lock();
        viewers.count_out_stalled(now);
        if viewers.seen.len() >= VIEWERS_MAX {
            return Err("too many people are watching already");
        }
        viewers.last_id += 1;
        let id = viewers.last_id;
        viewers.seen.insert(id, now);
        if viewers.sampler.as_ref().is_none_or(JoinHandle::is_finished) {
            viewers.sampler = Some(start_sampler());
        }
        let mut snapshots = self.latest.subscribe();
        // What is there already comes at once.
        snapshots.mark_changed();
        Ok(Viewer { hub: self.clone(), id, snapshots, has_said_goodbye: false })
    }

    /// Gives everybody a snapshot; `false` when nobody watches any more, and the sampler is to end.
    pub(super) fn publish(&self, now: Instant, snapshot: Bytes) -> bool {
        let mut viewers = self.lock();
        viewers.count_out_stalled(now);
        let is_watched = !viewers.seen.is_empty();
        if !is_watched {
            viewers.sampler = None;
        }
        // The next one to watch gets no snapshot of long ago.
        self.latest.send_replace(is_watched.then_some(snapshot));
        is_watched
    }

    /// How many watch.
    pub(super) fn viewers(&self) -> usize {
        self.lock().seen.len()
    }

    /// Notes that a viewer takes what comes; `false` when he was counted out.
    fn note(&self, id: u64, now: Instant) -> bool {
        self.lock().seen.get_mut(&id).map(|seen| *seen = now).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Viewers> {
        self.viewers.lock().expect("nobody panics while holding it")
    }
}

/// One who watches, until dropped.
pub(super) struct Viewer {
    hub: Arc<Hub>,
    id: u64,
    snapshots: watch::Receiver<Option<Bytes>>,
    has_said_goodbye: bool,
}

impl Viewer {
    /// The stream as HTTP carries it.
    pub(super) fn into_body(self) -> UnsyncBoxBody<Bytes, Infallible> {
        let hello = stream::once(async { Ok::<_, Infallible>(Frame::data(Bytes::from_static(HELLO))) });
        let events = stream::unfold(self, |mut viewer| async move {
            let event = viewer.next().await?;
            Some((Ok::<_, Infallible>(Frame::data(event)), viewer))
        });
        StreamBody::new(hello.chain(events)).boxed_unsync()
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.has_said_goodbye || !self.hub.note(self.id, Instant::now()) {
                return None;
            }
            tokio::select! {
                biased;
                () = self.hub.closed.cancelled() => {
                    self.has_said_goodbye = true;
                    return Some(Bytes::from_static(FAREWELL));
                }
                changed = self.snapshots.changed() => changed.ok()?,
            }
            let snapshot = self.snapshots.borrow_and_update().clone();
            if snapshot.is_some() {
                return snapshot;
            }
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.hub.lock().seen.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sampler that never samples.
    fn idle() -> JoinHandle<()> {
        tokio::spawn(std::future::pending())
    }

    fn not_needed() -> JoinHandle<()> {
        panic!("there is a sampler already")
    }

    async fn text(body: &mut UnsyncBoxBody<Bytes, Infallible>) -> Option<String> {
        let Ok(frame) = body.frame().await?;
        let data = frame.into_data().expect("data and no trailers");
        Some(String::from_utf8(data.to_vec()).expect("UTF-8"))
    }

    #[tokio::test]
    async fn a_slow_viewer_gets_the_newest_only_and_everybody_hears_the_end() {
        let (hub, now) = (Hub::new(), Instant::now());
        let mut body = hub.join(now, idle).expect("a place").into_body();
        assert_eq!(text(&mut body).await.expect("an event"), "retry: 2000\n\n");
        for n in 0..10 {
            assert!(hub.publish(now, Bytes::from(format!("data: {n}\n\n"))));
        }
        assert_eq!(text(&mut body).await.expect("an event"), "data: 9\n\n");
        // Whoever comes later needs no sampler of his own, and starts with what is there.
        let mut late = hub.join(now, not_needed).expect("a place").into_body();
        text(&mut late).await.expect("an event");
        assert_eq!(text(&mut late).await.expect("an event"), "data: 9\n\n");
        hub.closed.cancel();
        for body in [&mut body, &mut late] {
            assert_eq!(text(body).await.expect("an event"), "event: end\ndata: {}\n\n");
            assert_eq!(text(body).await, None);
        }
        assert!(hub.join(now, not_needed).is_err());
    }

    #[tokio::test]
    async fn places_are_few_and_those_who_stall_lose_theirs() {
        let (hub, start) = (Hub::new(), Instant::now());
        let mut viewers: Vec<Viewer> = vec![hub.join(start, idle).expect("a place")];
        while viewers.len() < VIEWERS_MAX {
            viewers.push(hub.join(start, not_needed).expect("a place"));
        }
        assert!(hub.join(start, not_needed).is_err());
        drop(viewers.pop());
        assert_eq!(hub.viewers(), VIEWERS_MAX - 1);
        viewers.push(hub.join(start, not_needed).expect("the place of the one who left"));

        let later = start + STALLED_AFTER;
        viewers.push(hub.join(later, not_needed).expect("the others have not moved since"));
        assert_eq!(hub.viewers(), 1);
        // Should one of them move after all, that is the end of his stream.
        assert!(viewers[0].next().await.is_none());
        assert!(hub.publish(later, Bytes::new()));
        drop(viewers);
        assert!(!hub.publish(later, Bytes::new()), "nobody watches");
        // The next one starts a sampler, and gets nothing of long ago.
        let viewer = hub.join(later, idle).expect("a place");
        assert!(viewer.snapshots.borrow().is_none());
    }
}
