//! A progress bar on standard error, if that is a terminal.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use windlass_report::units::thousands;

use crate::worker::Signals;

const REDRAW: Duration = Duration::from_millis(100);

/// Runs `work` and shows how many of `total` requests have their outcome meanwhile.
pub fn show<T>(title: &str, total: u64, signals: &Signals, work: impl FnOnce() -> T) -> T {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    if bar.is_hidden() {
        return work();
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {rate} {eta}");
    bar.set_style(style.expect("the template is valid").with_key("rate", rate));
    bar.set_message(title.to_owned());
    let over = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        let drawer = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                bar.set_position(signals.settled.load(Ordering::Relaxed));
                std::thread::park_timeout(REDRAW);
            }
        });
        let result = work();
        over.store(true, Ordering::Relaxed);
        drawer.thread().unpark();
        result
    });
    bar.finish_and_clear();
    result
}

/// Whole requests per second: the bar's own form of it has four digits after the point.
fn rate(state: &ProgressState, out: &mut dyn fmt::Write) {
    // A bar that cannot be drawn is no reason to stop.
    let _ = write!(out, "{}/s", thousands(state.per_sec()));
}
