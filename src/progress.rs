//! Progress of commands that take long, for whoever watches: one line on stderr that is gone when the command is done. Nothing is
//! written when stderr is no terminal, and never anything to stdout.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Pause between two redrawings: smooth enough, and nothing for a terminal.
const TICK: Duration = Duration::from_millis(100);

/// How the line looks while nobody knows how much there is to do.
const SPINNER: &str = "{spinner} {msg} [{elapsed_precise}]";

/// How it looks otherwise.
const STEPS: &str = "{spinner} {msg} [{bar:30}] {pos} of {len} [{elapsed_precise}]";

/// A line that shows how far a command is; it is gone when this is dropped.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Something of which nobody knows how much there is.
    pub fn start(phase: impl Into<Cow<'static, str>>) -> Self {
        Self::on(is_watched(), None, phase.into())
    }

    /// Something that takes so many steps.
    pub fn steps(count: u64, phase: impl Into<Cow<'static, str>>) -> Self {
        Self::on(is_watched(), Some(count), phase.into())
    }

    /// What is done now.
    pub fn phase(&self, phase: impl Into<Cow<'static, str>>) {
        self.0.set_message(phase);
    }

    /// The next step begins: this one.
    pub fn step(&self, phase: impl Into<Cow<'static, str>>) {
        self.0.inc(1);
        self.phase(phase);
    }

    /// So many steps are done, in all.
    pub fn reach(&self, count: u64) {
        self.0.set_position(count);
    }

    fn on(is_watched: bool, steps: Option<u64>, phase: Cow<'static, str>) -> Self {
        let target = if is_watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let template = if steps.is_some() { STEPS } else { SPINNER };
        let style = ProgressStyle::with_template(template).expect("a template that a test has read");
        let bar = ProgressBar::with_draw_target(steps, target).with_style(style).with_message(phase);
        if is_watched {
            bar.enable_steady_tick(TICK);
        }
        Self(bar)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_nobody_watches_counts_all_the_same() {
        let steps = Progress::on(false, Some(3), "counting".into());
        steps.reach(2);
        steps.phase("still counting");
        assert!(steps.0.is_hidden());
        assert_eq!((steps.0.position(), steps.0.length(), steps.0.message().as_str()), (2, Some(3), "still counting"));
        steps.step("nearly there");
        assert_eq!((steps.0.position(), steps.0.message().as_str()), (3, "nearly there"));
        let spinner = Progress::on(false, None, "waiting".into());
        assert!(spinner.0.is_hidden() && spinner.0.length().is_none());
    }
}
