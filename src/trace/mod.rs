//! A request on its way through the service: which trace it belongs to, and where its time went.
//!
//! The trace is the client's (`traceparent`) or begins here; its id is the request's id in logs and answers. It is there for
//! everything that is done for the request, without being passed around, and goes on to whom we ask meanwhile.

pub mod context;
#[cfg(feature = "otel")]
pub mod otel;

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::engine::ids::EntityId;
use crate::engine::user::Pseudonym;
use context::{Context, TraceId};
use futures::future::Either;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// Names the request in every answer.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static CURRENT: Arc<Trace>;
}

/// What takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Waiting for the body.
    Read,
    /// Waiting for a batch.
    Queue,
    /// From the sending of the (first) batch with the op to its answer.
    Redis,
    /// Reading an order, from Redis or PostgreSQL.
    Find,
    /// Asking the gateway.
    Gateway,
    /// Encoding the op, and the answer.
    Encode,
}

impl Step {
    /// All of them, in the order in which they usually come.
    pub const ALL: [Self; 6] = [Self::Read, Self::Find, Self::Queue, Self::Redis, Self::Gateway, Self::Encode];

    /// As traces name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Find => "find",
            Self::Queue => "queue",
            Self::Redis => "redis",
            Self::Gateway => "gateway",
            Self::Encode => "encode",
        }
    }
}

/// When a step began first, since the request did, and how long it took in all; both in ns.
#[derive(Debug, Default)]
struct Spent {
    begun_ns: AtomicU64,
    taken_ns: AtomicU64,
}

/// One request.
#[derive(Debug)]
pub struct Trace {
    id: TraceId,
    /// What whom we ask is told of it; `None`: it began here, and nobody records it.
    onward: Option<Context>,
    started: Instant,
    steps: [Spent; Step::ALL.len()],
    /// Its route, and who asks.
    matched: OnceLock<(&'static str, Option<Pseudonym>)>,
    /// The order that it is about; 0: none, or not known yet.
    order: AtomicI64,
    /// `None`: nobody records anything.
    #[cfg(feature = "otel")]
    recorded: Option<otel::Recorded>,
}

impl Trace {
    /// A request that has just come, from a caller who traces or from one who does not. Where nothing is recorded, the caller's
    /// own step is what goes on: one of ours would be missing in everybody's pictures.
    pub fn begin(parent: Option<Context>) -> Arc<Self> {
        #[cfg(feature = "otel")]
        let (recorded, onward) = match otel::Recorded::begin(parent.as_ref()) {
            Some((recorded, ours)) => (Some(recorded), Some(ours)),
            None => (None, parent),
        };
        #[cfg(not(feature = "otel"))]
        let onward = parent;
        Arc::new(Self {
            id: onward.as_ref().map_or_else(TraceId::random, |context| context.trace),
            onward,
            started: Instant::now(),
            steps: Default::default(),
            matched: OnceLock::new(),
            order: AtomicI64::new(0),
            #[cfg(feature = "otel")]
            recorded,
        })
    }

    /// The request's id.
    pub fn id(&self) -> TraceId {
        self.id
    }

    /// The request's id as a header's value.
    pub fn header(&self) -> HeaderValue {
        HeaderValue::try_from(self.id().to_string()).expect("hexadecimal digits")
    }

    /// When it came.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Says which route it takes, and who asks; once.
    pub fn matched(&self, route: &'static str, user: Option<Pseudonym>) {
        // Nobody says it twice.
        let _ = self.matched.set((route, user));
    }

    /// The order that it is about, if it is about one.
    pub fn order(&self) -> Option<EntityId> {
        EntityId::from_i64(self.order.load(Ordering::Relaxed)).filter(|order| order.seq() != 0)
    }

    /// How long it was in a step.
    pub fn spent(&self, step: Step) -> Duration {
        Duration::from_nanos(self.steps[step as usize].taken_ns.load(Ordering::Relaxed))
    }

    /// When it was in a step first, since it came.
    #[cfg(feature = "otel")]
    fn begun(&self, step: Step) -> Duration {
        Duration::from_nanos(self.steps[step as usize].begun_ns.load(Ordering::Relaxed))
    }

    /// It has ended; whoever records is told.
    #[cfg(feature = "otel")]
    pub fn export(&self, method: &hyper::Method, status: hyper::StatusCode) {
        if let Some(recorded) = &self.recorded {
            recorded.end(self, method, status, self.matched.get().copied());
        }
    }

    /// Works for this request: what is done meanwhile finds it.
    pub fn scope<F: Future>(self: Arc<Self>, work: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, work)
    }

    fn add(&self, step: Step, begun: Instant, taken: Duration) {
        let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let spent = &self.steps[step as usize];
        if spent.taken_ns.fetch_add(nanoseconds(taken), Ordering::Relaxed) == 0 {
            spent.begun_ns.store(nanoseconds(begun.saturating_duration_since(self.started)), Ordering::Relaxed);
        }
    }
}

/// Adds to a step of the request that is worked for, if any is.
pub fn note(step: Step, begun: Instant, taken: Duration) {
    // Without a request (a sweeper, a rush) there is nobody to tell.
    let _ = CURRENT.try_with(|trace| trace.add(step, begun, taken));
}

/// Does something, as a step of the request.
pub fn timed<T>(step: Step, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    note(step, begun, begun.elapsed());
    done
}

/// Waits for something, as a step of the request.
pub async fn awaited<F: Future>(step: Step, work: F) -> F::Output {
    let begun = Instant::now();
    let done = work.await;
    note(step, begun, begun.elapsed());
    done
}

/// Says which order the request is about.
pub fn about_order(id: EntityId) {
    let _ = CURRENT.try_with(|trace| trace.order.store(id.as_i64(), Ordering::Relaxed));
}

/// Names the request to whom we ask for it.
pub fn hand_on(headers: &mut HeaderMap) {
    let _ = CURRENT.try_with(|trace| trace.onward.as_ref().map(|context| context.write(headers)));
}

/// Tells `line` the name of everything that is known of the request that is worked for, and its value as JSON.
///
/// # Errors
/// Those of `line`.
pub fn describe(mut line: impl FnMut(&str, &dyn fmt::Display) -> fmt::Result) -> fmt::Result {
    let told = CURRENT.try_with(|trace| {
        line("request_id", &format_args!("\"{}\"", trace.id()))?;
        if let Some((route, user)) = trace.matched.get() {
            // Routes are plain text.
            line("route", &format_args!("\"{route}\""))?;
            if let Some(user) = user {
                line("user", &format_args!("\"{user}\""))?;
            }
        }
        trace.order().map_or(Ok(()), |order| line("order_id", &format_args!("\"{order}\"")))
    });
    told.unwrap_or(Ok(()))
}

/// For a task that goes on with a request's work, whether or not somebody still waits for it.
pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
    match CURRENT.try_with(Arc::clone) {
        Ok(trace) => Either::Left(CURRENT.scope(trace, work)),
        Err(_) => Either::Right(work),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_stand_where_their_number_says() {
        let mut numbers: Vec<_> = Step::ALL.iter().map(|step| *step as usize).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..Step::ALL.len()).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_is_done_for_a_request_finds_it_in_other_tasks_too() {
        let mut came = HeaderMap::new();
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        came.insert(context::TRACEPARENT, HeaderValue::from_static(parent));
        let trace = Trace::begin(Context::of(&came));
        let in_the_task = trace.clone().scope(async {
            timed(Step::Encode, || {
                std::hint::black_box(vec![1_u8; 1 << 16]).iter().map(|b| u64::from(*b)).sum::<u64>()
            });
            about_order(EntityId::parse("7").expect("an id"));
            let carried = tokio::spawn(carry(async {
                awaited(Step::Gateway, tokio::time::sleep(Duration::from_millis(2))).await;
                let mut headers = HeaderMap::new();
                hand_on(&mut headers);
                headers
            }));
            carried.await.expect("it does not panic")
        });
        let handed_on = Context::of(&in_the_task.await).expect("it was handed on");
        assert_eq!((handed_on.trace, trace.order()), (trace.id(), EntityId::parse("7")));
        assert!(trace.spent(Step::Encode) > Duration::ZERO);
        assert!(trace.spent(Step::Gateway) >= Duration::from_millis(2));
        assert_eq!(trace.spent(Step::Queue), Duration::ZERO);
    }

    #[tokio::test]
    async fn what_nobody_traces_is_not_handed_on() {
        let mut headers = HeaderMap::new();
        carry(async { hand_on(&mut headers) }).await;
        Trace::begin(None).scope(async { hand_on(&mut headers) }).await;
        timed(Step::Read, || ());
        assert!(headers.is_empty());
    }
}
