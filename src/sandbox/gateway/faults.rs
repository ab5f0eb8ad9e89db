//! Faults of the played gateway: which are switched on, and which calls they hit.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use crate::gateway::Call;
use crate::sandbox::odds;

const NO_JSON: &str = "<html><body>Payment approved</body></html>";

/// A careless client takes this for an approval; it does not say of what.
const WRONG_SHAPE: &str = r#"{"status":"APPROVED"}"#;

/// More than any client should read; one for all answers.
static HUGE: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(format!(r#"{{"padding":"{}"}}"#, "x".repeat(1 << 20))));

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// Nothing.
    Approve,
    /// Charges are declined.
    Decline,
    /// Works at once, answers late.
    Slow,
    /// Works, then ends the connection without an answer.
    LostAnswer,
    /// Ends the connection without working.
    LostRequest,
    /// Answers 500, without working or (half of the time) after it.
    Error,
    /// Works, then answers 200 with something that is no answer.
    Garbage,
}

/// Body of `PUT /gateway/faults`, and what `GET` of it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FaultSetting {
    mode: Mode,
    /// Share of the calls that are hit, 0 to 100; the others work as they should.
    #[serde(default = "odds::percent_default")]
    percent: u32,
    /// For the mode slow.
    #[serde(default = "odds::delay_ms_default")]
    delay_ms: u64,
    /// The calls that can be hit.
    #[serde(default = "calls_default")]
    calls: Vec<Call>,
    /// Of everything that is random here: the same calls in the same order meet the same faults. Drawn when not given,
    /// so always there in an answer.
    seed: Option<u64>,
}

fn calls_default() -> Vec<Call> {
    Call::ALL.to_vec()
}

impl FaultSetting {
    fn new(mode: Mode) -> Self {
        let (percent, delay_ms) = (odds::percent_default(), odds::delay_ms_default());
        Self { mode, percent, delay_ms, calls: calls_default(), seed: None }
    }

    /// What is wrong with it.
    fn error(&self) -> Option<String> {
        let unnamed = || self.calls.is_empty().then(|| "calls must name at least one call".to_owned());
        odds::error(self.percent, self.delay_ms).or_else(unnamed)
    }
}

/// What happens to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    Decline,
    Slow(Duration),
    LostAnswer,
    LostRequest,
    Error {
        /// Whether it does its work first.
        works: bool,
    },
    /// The body of the answer.
    Garbage(Bytes),
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
        Self::seeded(FaultSetting::new(Mode::Approve))
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

    /// Draws what happens to the next call.
    pub(super) fn draw(&mut self, call: Call) -> Fault {
        if !self.setting.calls.contains(&call) || !odds::is_hit(&mut self.rng, self.setting.percent) {
            return Fault::None;
        }
        match self.setting.mode {
            Mode::Approve => Fault::None,
            Mode::Decline => Fault::Decline,
            Mode::Slow => Fault::Slow(Duration::from_millis(self.setting.delay_ms)),
            Mode::LostAnswer => Fault::LostAnswer,
            Mode::LostRequest => Fault::LostRequest,
            Mode::Error => Fault::Error { works: self.rng.random() },
            Mode::Garbage => Fault::Garbage(self.garbage()),
        }
    }

    fn garbage(&mut self) -> Bytes {
        match self.rng.random_range(0..3) {
            0 => Bytes::from_static(NO_JSON.as_bytes()),
            1 => Bytes::from_static(WRONG_SHAPE.as_bytes()),
            _ => HUGE.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{Verdict, verdict};

    fn faults(setting: &str) -> Faults {
        let mut faults = Faults::new();
        faults.set(serde_json::from_str(setting).expect("JSON of a setting")).expect("valid");
        faults
    }

    fn draw(faults: &mut Faults, times: usize) -> Vec<Fault> {
        (0..times).map(|_| faults.draw(Call::Charge)).collect()
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let setting: FaultSetting = serde_json::from_str(r#"{"mode":"lost_answer"}"#).expect("valid");
        assert_eq!(setting, FaultSetting::new(Mode::LostAnswer));
        let faults = faults(r#"{"mode":"slow","percent":50,"delayMs":7,"calls":["find","void"],"seed":3}"#);
        let expected = serde_json::json!(
            {"mode": "slow", "percent": 50, "delayMs": 7, "calls": ["find", "void"], "seed": 3}
        );
        assert_eq!(serde_json::to_value(faults.setting()).expect("plain data"), expected);
    }

    #[test]
    fn settings_out_of_bounds_are_refused_and_change_nothing() {
        let mut faults = faults(r#"{"mode":"error","seed":1}"#);
        for (setting, word) in [
            (r#"{"mode":"approve","percent":101}"#, "percent"),
            (r#"{"mode":"slow","delayMs":600001}"#, "delayMs"),
            (r#"{"mode":"approve","calls":[]}"#, "calls"),
        ] {
            let error = faults.set(serde_json::from_str(setting).expect("JSON of a setting")).expect_err("refused");
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(faults.setting().mode, Mode::Error);
        for setting in
            [r#"{"mode":"explode"}"#, r#"{"mode":"slow","delay":1}"#, "{}", r#"{"mode":"slow","calls":["x"]}"#]
        {
            assert!(serde_json::from_str::<FaultSetting>(setting).is_err(), "{setting}");
        }
    }

    #[test]
    fn a_fault_hits_its_calls_and_no_others() {
        let mut faults = faults(r#"{"mode":"lost_request","calls":["find"]}"#);
        for _ in 0..100 {
            assert_eq!(faults.draw(Call::Find), Fault::LostRequest);
            for call in [Call::Charge, Call::Refund, Call::Void] {
                assert_eq!(faults.draw(call), Fault::None);
            }
        }
    }

    #[test]
    fn a_share_of_the_calls_is_hit_and_the_seed_that_was_drawn_repeats_it() {
        let mut first = faults(r#"{"mode":"error","percent":50}"#);
        let mut again = Faults::seeded(first.setting().clone());
        let drawn = draw(&mut first, 100);
        assert_eq!(drawn, draw(&mut again, 100), "{:?}", first.setting());
        for fault in [Fault::None, Fault::Error { works: true }, Fault::Error { works: false }] {
            assert!(drawn.contains(&fault), "{:?}: {fault:?}", first.setting());
        }
    }

    #[test]
    fn errors_and_garbage_come_in_all_their_kinds_and_no_garbage_is_an_answer() {
        let errors = draw(&mut faults(r#"{"mode":"error","seed":1}"#), 100);
        for works in [true, false] {
            assert!(errors.contains(&Fault::Error { works }), "{works}");
        }
        let garbage = draw(&mut faults(r#"{"mode":"garbage","seed":1}"#), 100);
        for body in [NO_JSON.as_bytes(), WRONG_SHAPE.as_bytes(), &HUGE[..]] {
            assert!(garbage.contains(&Fault::Garbage(Bytes::copy_from_slice(body))));
            for call in Call::ALL {
                assert!(matches!(verdict(call, "k", 1, 200, body), Verdict::Unclear(_)));
            }
        }
    }
}
