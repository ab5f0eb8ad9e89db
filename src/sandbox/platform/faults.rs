//! Faults of the played data platform: which are switched on, and which requests they hit.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use crate::sandbox::odds;

const RETRY_AFTER_DEFAULT_S: u64 = 1;

/// A day.
const RETRY_AFTER_MAX_S: u64 = 86_400;

/// What comes with 200 and does not say that the events were taken.
const GARBAGE: [&str; 4] = ["<html><body>Events accepted</body></html>", "{}", r#"{"accepted":0}"#, "[]"];

/// Begins like the answer to a single event, and is more than any client should read; one for all requests.
static HUGE: LazyLock<Bytes> =
    LazyLock::new(|| Bytes::from(format!(r#"{{"accepted":1,"padding":"{}"}}"#, "x".repeat(8 << 20))));

/// What goes wrong. To take a request is what should be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// Nothing.
    Accept,
    /// Answers 500, without taking or (half of the time) after it.
    Error,
    /// Answers 503 without taking.
    Unavailable,
    /// Answers 429 with `Retry-After`, without taking.
    TooMany,
    /// Takes at once, answers late.
    Slow,
    /// Answers 503 late, without taking.
    Hang,
    /// Takes, then answers 200 with something that is no answer.
    Garbage,
    /// Takes, then answers 200, and ends the connection before all of the answer is sent.
    Reset,
    /// Takes, then answers 200 with a body that does not end soon.
    Huge,
    /// Answers 307 without taking.
    Redirect,
    /// Ends the connection without taking.
    LostRequest,
    /// Takes, then ends the connection without an answer.
    LostAnswer,
    /// Answers 422 without taking.
    Refuse,
    /// One of all these but the first, drawn for each request.
    Chaos,
}

/// What chaos draws from.
const CHAOS: [Mode; 12] = [
    Mode::Error,
    Mode::Unavailable,
    Mode::TooMany,
    Mode::Slow,
    Mode::Hang,
    Mode::Garbage,
    Mode::Reset,
    Mode::Huge,
    Mode::Redirect,
    Mode::LostRequest,
    Mode::LostAnswer,
    Mode::Refuse,
];

/// What can be hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Path {
    Events,
    Webhooks,
}

/// Body of `PUT /platform/faults`, and what `GET` of it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FaultSetting {
    mode: Mode,
    /// Share of the requests that are hit, 0 to 100; the others are treated as they should be.
    #[serde(default = "odds::percent_default")]
    percent: u32,
    /// For the modes slow and hang.
    #[serde(default = "odds::delay_ms_default")]
    delay_ms: u64,
    /// For the mode `too_many`.
    #[serde(default = "retry_after_s_default")]
    retry_after_s: u64,
    /// Only requests with an event of one of these users can be hit; `None`: every request.
    users: Option<BTreeSet<String>>,
    /// The paths that can be hit.
    #[serde(default = "paths_default")]
    paths: Vec<Path>,
    /// Of everything that is random here: the same requests in the same order meet the same faults. Drawn when not
    /// given, so always there in an answer.
    seed: Option<u64>,
}

fn retry_after_s_default() -> u64 {
    RETRY_AFTER_DEFAULT_S
}

fn paths_default() -> Vec<Path> {
    vec![Path::Events, Path::Webhooks]
}

impl FaultSetting {
    fn new(mode: Mode) -> Self {
        Self {
            mode,
            percent: odds::percent_default(),
            delay_ms: odds::delay_ms_default(),
            retry_after_s: retry_after_s_default(),
            users: None,
            paths: paths_default(),
            seed: None,
        }
    }

    /// What is wrong with it.
    fn error(&self) -> Option<String> {
        if self.retry_after_s > RETRY_AFTER_MAX_S {
            return Some(format!("retryAfterS must be from 0 to {RETRY_AFTER_MAX_S}"));
        }
        if self.users.as_ref().is_some_and(BTreeSet::is_empty) {
            return Some("users must name at least one user, or be absent".to_owned());
        }
        if self.paths.is_empty() {
            return Some("paths must name at least one path".to_owned());
        }
        odds::error(self.percent, self.delay_ms)
    }
}

/// What happens to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    Error {
        /// Whether it takes first.
        takes: bool,
    },
    Unavailable,
    TooMany {
        retry_after_s: u64,
    },
    Slow(Duration),
    Hang(Duration),
    /// The body of the answer.
    Garbage(Bytes),
    Reset,
    Redirect,
    LostRequest,
    LostAnswer,
    Refuse,
}

/// The faults that are switched on.
#[derive(Debug)]
pub(super) struct Faults {
    setting: FaultSetting,
    rng: StdRng,
}

impl Faults {
    /// None.
    pub(super) fn new() -> Self {
        Self::seeded(FaultSetting::new(Mode::Accept))
    }

    fn seeded(mut setting: FaultSetting) -> Self {
        let rng = odds::seeded(&mut setting.seed);
        Self { setting, rng }
    }

    /// What is switched on.
    pub(super) fn setting(&self) -> &FaultSetting {
        &self.setting
    }

    /// Replaces what is switched on, or says what is wrong and leaves it.
    pub(super) fn set(&mut self, setting: FaultSetting) -> Result<(), String> {
        if let Some(error) = setting.error() {
            return Err(error);
        }
        *self = Self::seeded(setting);
        Ok(())
    }

    /// Draws what happens to the next request. `users`: whose events it has.
    pub(super) fn draw<'a>(&mut self, path: Path, users: impl Iterator<Item = &'a str>) -> Fault {
        if !self.can_hit(path, users) || !odds::is_hit(&mut self.rng, self.setting.percent) {
            return Fault::None;
        }
        let mode = match self.setting.mode {
            Mode::Chaos => CHAOS[self.rng.random_range(0..CHAOS.len())],
            mode => mode,
        };
        let delay = Duration::from_millis(self.setting.delay_ms);
        match mode {
            // Chaos is not among what chaos draws.
            Mode::Accept | Mode::Chaos => Fault::None,
            Mode::Error => Fault::Error { takes: self.rng.random() },
            Mode::Unavailable => Fault::Unavailable,
            Mode::TooMany => Fault::TooMany { retry_after_s: self.setting.retry_after_s },
            Mode::Slow => Fault::Slow(delay),
            Mode::Hang => Fault::Hang(delay),
            Mode::Garbage => {
                let body = GARBAGE[self.rng.random_range(0..GARBAGE.len())];
                Fault::Garbage(Bytes::from_static(body.as_bytes()))
            }
            Mode::Reset => Fault::Reset,
            Mode::Huge => Fault::Garbage(HUGE.clone()),
            Mode::Redirect => Fault::Redirect,
            Mode::LostRequest => Fault::LostRequest,
            Mode::LostAnswer => Fault::LostAnswer,
            Mode::Refuse => Fault::Refuse,
        }
    }

    fn can_hit<'a>(&self, path: Path, mut users: impl Iterator<Item = &'a str>) -> bool {
        let FaultSetting { users: meant, paths, .. } = &self.setting;
        paths.contains(&path) && meant.as_ref().is_none_or(|meant| users.any(|user| meant.contains(user)))
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use serde_json::{Value, json};

    use super::*;

    fn faults(setting: &str) -> Faults {
        let mut faults = Faults::new();
        faults.set(serde_json::from_str(setting).expect("JSON of a setting")).expect("valid");
        faults
    }

    fn draw(faults: &mut Faults, times: usize) -> Vec<Fault> {
        (0..times).map(|_| faults.draw(Path::Events, iter::once("user-1"))).collect()
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let setting: FaultSetting = serde_json::from_str(r#"{"mode":"lost_answer"}"#).expect("valid");
        assert_eq!(setting, FaultSetting::new(Mode::LostAnswer));
        let given = json!({
            "mode": "too_many", "percent": 50, "delayMs": 7, "retryAfterS": 9, "users": ["user-1", "user-2"],
            "paths": ["events"], "seed": 3,
        });
        let faults = faults(&given.to_string());
        assert_eq!(serde_json::to_value(faults.setting()).expect("plain data"), given);
    }

    #[test]
    fn settings_out_of_bounds_are_refused_and_change_nothing() {
        let mut faults = faults(r#"{"mode":"error","seed":1}"#);
        for (setting, word) in [
            (r#"{"mode":"accept","percent":101}"#, "percent"),
            (r#"{"mode":"slow","delayMs":600001}"#, "delayMs"),
            (r#"{"mode":"too_many","retryAfterS":86401}"#, "retryAfterS"),
            (r#"{"mode":"refuse","users":[]}"#, "users"),
            (r#"{"mode":"accept","paths":[]}"#, "paths"),
        ] {
            let error = faults.set(serde_json::from_str(setting).expect("JSON of a setting")).expect_err("refused");
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(faults.setting().mode, Mode::Error);
        for setting in
            [r#"{"mode":"explode"}"#, r#"{"mode":"slow","delay":1}"#, "{}", r#"{"mode":"slow","paths":["x"]}"#]
        {
            assert!(serde_json::from_str::<FaultSetting>(setting).is_err(), "{setting}");
        }
    }

    #[test]
    fn a_fault_hits_its_paths_and_users_and_no_others() {
        let mut faults = faults(r#"{"mode":"refuse","paths":["events"],"users":["user-2","user-3"]}"#);
        let cases: [(Path, &[&str], Fault); 5] = [
            (Path::Events, &["user-1", "user-2"], Fault::Refuse),
            (Path::Events, &["user-3"], Fault::Refuse),
            (Path::Events, &["user-1"], Fault::None),
            (Path::Events, &[], Fault::None),
            (Path::Webhooks, &["user-2"], Fault::None),
        ];
        for (path, users, expected) in cases {
            assert_eq!(faults.draw(path, users.iter().copied()), expected, "{path:?} {users:?}");
        }
    }

    #[test]
    fn chaos_draws_everything_else_about_as_often_and_its_seed_repeats_it() {
        let seed: u32 = rand::random();
        let setting = format!(r#"{{"mode":"chaos","delayMs":7,"seed":{seed}}}"#);
        let drawn = draw(&mut faults(&setting), 12_000);
        assert_eq!(drawn, draw(&mut faults(&setting), 12_000), "seed {seed}");
        let delay = Duration::from_millis(7);
        let is_kind: [fn(&Fault) -> bool; 5] = [
            |fault| matches!(fault, Fault::Error { .. }),
            |fault| matches!(fault, Fault::TooMany { retry_after_s: 1 }),
            |fault| matches!(fault, Fault::Garbage(body) if body.len() < 100),
            |fault| matches!(fault, Fault::Garbage(body) if body.len() > 100),
            |fault| *fault == Fault::Refuse,
        ];
        for (kind, is_kind) in is_kind.iter().enumerate() {
            let times = drawn.iter().filter(|fault| is_kind(fault)).count();
            assert!((700..1300).contains(&times), "seed {seed}: kind {kind} {times} times");
        }
        let others = [
            Fault::Unavailable,
            Fault::Slow(delay),
            Fault::Hang(delay),
            Fault::Reset,
            Fault::Redirect,
            Fault::LostRequest,
            Fault::LostAnswer,
        ];
        for other in others {
            let times = drawn.iter().filter(|fault| **fault == other).count();
            assert!((700..1300).contains(&times), "seed {seed}: {other:?} {times} times");
        }
    }

    #[test]
    fn errors_and_garbage_come_in_all_their_kinds() {
        let errors = draw(&mut faults(r#"{"mode":"error","seed":1}"#), 100);
        for takes in [true, false] {
            assert!(errors.contains(&Fault::Error { takes }), "{takes}");
        }
        let garbage = draw(&mut faults(r#"{"mode":"garbage","seed":1}"#), 100);
        for body in GARBAGE {
            assert!(garbage.contains(&Fault::Garbage(Bytes::from_static(body.as_bytes()))), "{body}");
        }
    }

    #[test]
    fn the_huge_answer_would_be_one_if_it_were_read() {
        assert!(HUGE.len() > 8 << 20);
        let answer: Value = serde_json::from_slice(&HUGE).expect("JSON");
        assert_eq!(answer["accepted"], 1);
    }
}
