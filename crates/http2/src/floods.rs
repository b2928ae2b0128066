//! What a client may do in vain: frames that cost the server work and bring nothing. No clock inside.
//!
//! Each kind has a bucket of tokens that fills with time. nghttp2 keeps two more of these bounds by itself: glitches
//! (empty DATA, PRIORITY, frames of unknown types or on streams that are gone) and acknowledgements that wait.

use std::time::{Duration, Instant};

use crate::Settings;

/// What a DATA frame that was sent allows its receiver: most clients give credit back once or twice for it, those with
/// small buffers for each part that they read.
const IDLE_PER_DATA: u64 = 16;

/// The bounds of one connection.
#[derive(Debug)]
pub(crate) struct Floods {
    resets: Bucket,
    settings: Bucket,
    idle: Bucket,
}

impl Floods {
    pub fn new(settings: &Settings, now: Instant) -> Self {
        Self {
            resets: Bucket::new(settings.resets_burst, settings.resets_per_s, now),
            settings: Bucket::new(settings.settings_burst, settings.settings_per_s, now),
            idle: Bucket::new(settings.idle_burst, settings.idle_per_s, now),
        }
    }

    /// A stream was reset, by the client or because of it. False if it is one too many; so too below.
    pub fn reset(&mut self, now: Instant) -> bool {
        self.resets.take(now)
    }

    /// SETTINGS came.
    pub fn settings(&mut self, now: Instant) -> bool {
        self.settings.take(now)
    }

    /// Another frame came that carries nothing.
    pub fn idle(&mut self, now: Instant) -> bool {
        self.idle.take(now)
    }

    /// A DATA frame went to the client.
    pub fn data_sent(&mut self) {
        self.idle.add(IDLE_PER_DATA);
    }
}

/// Tokens that come with time.
#[derive(Debug)]
struct Bucket {
    burst: u64,
    per_s: u64,
    left: u64,
    filled_at: Instant,
}

impl Bucket {
    fn new(burst: u64, per_s: u64, now: Instant) -> Self {
        Self { burst, per_s, left: burst, filled_at: now }
    }

    fn add(&mut self, tokens: u64) {
        self.left = self.left.saturating_add(tokens).min(self.burst);
    }

    /// Takes a token. False if there is none.
    fn take(&mut self, now: Instant) -> bool {
        if self.left == 0 {
            self.fill(now);
        }
        let taken = self.left.checked_sub(1);
        self.left = taken.unwrap_or(0);
        taken.is_some()
    }

    /// Adds what has come with time. What is less than a token stays for the next time.
    fn fill(&mut self, now: Instant) {
        let passed_us =
            u64::try_from(now.saturating_duration_since(self.filled_at).as_micros()).unwrap_or(u64::MAX);
        let come = passed_us.saturating_mul(self.per_s) / 1_000_000;
        if let Some(us_per_come) = come.saturating_mul(1_000_000).checked_div(self.per_s) {
            self.filled_at += Duration::from_micros(us_per_come);
            self.add(come);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &mut Bucket, now: Instant) -> u64 {
        std::iter::repeat_with(|| bucket.take(now)).take_while(|taken| *taken).count() as u64
    }

    #[test]
    fn a_burst_and_then_a_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 4, start);
        assert_eq!(taken(&mut bucket, start), 10);
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(taken(&mut bucket, after(249)), 0);
        assert_eq!(taken(&mut bucket, after(499)), 1);
        assert_eq!(taken(&mut bucket, after(500)), 1, "parts of a token are kept");
        assert_eq!(taken(&mut bucket, after(100_000)), 10, "no more than the burst");
        assert_eq!(taken(&mut bucket, start), 0, "time that goes back brings nothing");
        assert_eq!(taken(&mut Bucket::new(1, 0, start), after(100_000)), 1, "without a rate");
    }

    #[test]
    fn who_is_sent_data_may_give_credit_for_it() {
        let start = Instant::now();
        let settings = Settings { idle_burst: 20, idle_per_s: 1, ..Settings::default() };
        let mut floods = Floods::new(&settings, start);
        for _ in 0..1000 {
            floods.data_sent();
            assert!((0..IDLE_PER_DATA).all(|_| floods.idle(start)));
        }
        assert!((0..100).any(|_| !floods.idle(start)));
    }
}
