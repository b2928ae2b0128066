//! Clients that write, each one after the other, at a common rate.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use windlass_api::etcdserverpb::PutRequest;
use windlass_client::Client;
use windlass_types::splitmix::mix;

/// Stack of a client's thread; there may be a thousand.
const STACK_BYTES: usize = 256 << 10;
/// How often progress is shown.
const LOOK: Duration = Duration::from_millis(200);

/// When to end.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// After some time.
    After(Duration),
    /// After so many writes.
    AfterWrites(u64),
}

/// What is written.
pub struct Load<'a> {
    /// What all keys start with.
    pub prefix: &'a str,
    /// Bytes of a key behind the prefix.
    pub key_bytes: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Writes a second; as fast as it goes if none.
    pub rate: Option<u64>,
    /// When to end.
    pub end: End,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Of each write.
    pub latencies_s: Vec<f64>,
    /// Texts, and how often.
    pub errors: BTreeMap<String, u64>,
    /// From the first write to the last answer.
    pub took: Duration,
}

impl Load<'_> {
    /// Writes with all clients; `progress` is told of seconds or of writes, by the end.
    pub fn run(&self, clients: Vec<Client>, progress: impl Fn(u64)) -> Report {
        let (next, running) = (AtomicU64::new(0), AtomicU64::new(clients.len() as u64));
        let report = Mutex::new(Report::default());
        let start = Instant::now();
        thread::scope(|scope| {
            for mut client in clients {
                let (next, running, report) = (&next, &running, &report);
                let work = move || {
                    let own = self.write(&mut client, next, start);
                    report.lock().expect("no client panics").add(own);
                    running.fetch_sub(1, Ordering::Release);
                };
                let spawned = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
                // Fewer clients than asked for are a weaker load; the throughput shows it.
                if spawned.is_err() {
                    running.fetch_sub(1, Ordering::Release);
                }
            }
            while running.load(Ordering::Acquire) > 0 {
                thread::sleep(LOOK);
                progress(match self.end {
                    End::After(time) => start.elapsed().min(time).as_secs(),
                    End::AfterWrites(writes) => next.load(Ordering::Relaxed).min(writes),
                });
            }
        });
        let mut report = report.into_inner().expect("no client panics");
        report.took = start.elapsed();
        report
    }

    fn write(&self, client: &mut Client, next: &AtomicU64, start: Instant) -> Report {
        let mut report = Report::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let due = self.rate.map_or(Duration::ZERO, |rate| Duration::from_secs(number) / rate as u32);
            let is_over = match self.end {
                End::After(time) => due.max(start.elapsed()) >= time,
                End::AfterWrites(writes) => number >= writes,
            };
            if is_over {
                return report;
            }
            thread::sleep(due.saturating_sub(start.elapsed()));
            let request = PutRequest {
                key: self.key(number).into(),
                value: vec![0; self.value_bytes].into(),
                ..PutRequest::default()
            };
            let asked_at = Instant::now();
            match client.put(&request) {
                Ok(_) => report.latencies_s.push(asked_at.elapsed().as_secs_f64()),
                Err(error) => *report.errors.entry(error.to_string()).or_default() += 1,
            }
        }
    }

    /// Keys that lie anywhere, each once.
    fn key(&self, number: u64) -> Vec<u8> {
        let mut key = self.prefix.as_bytes().to_vec();
        key.extend_from_slice(&mix(number).to_le_bytes());
        key.resize(self.prefix.len() + self.key_bytes, 0);
        key
    }
}

impl Report {
    fn add(&mut self, other: Self) {
        self.latencies_s.extend(other.latencies_s);
        for (error, times) in other.errors {
            *self.errors.entry(error).or_default() += times;
        }
    }

    /// Writes a second.
    pub fn per_second(&self) -> f64 {
        self.latencies_s.len() as f64 / self.took.as_secs_f64()
    }

    /// The longest write.
    pub fn slowest_s(&self) -> f64 {
        self.latencies_s.iter().copied().fold(0.0, f64::max)
    }

    /// The standard deviation of all.
    pub fn deviation_s(&self) -> f64 {
        let count = self.latencies_s.len().max(1) as f64;
        let mean = self.latencies_s.iter().sum::<f64>() / count;
        (self.latencies_s.iter().map(|latency| (latency - mean).powi(2)).sum::<f64>() / count).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_writes() {
        let report =
            Report { latencies_s: vec![1.0, 3.0], took: Duration::from_secs(4), errors: BTreeMap::new() };
        assert_eq!((report.per_second(), report.slowest_s(), report.deviation_s()), (0.5, 3.0, 1.0));
        let none = Report { took: Duration::from_secs(1), ..Report::default() };
        assert_eq!((none.per_second(), none.slowest_s(), none.deviation_s()), (0.0, 0.0, 0.0));
    }

    #[test]
    fn keys_differ() {
        let load =
            Load { prefix: "/p/", key_bytes: 256, value_bytes: 1, rate: None, end: End::AfterWrites(1) };
        let keys: std::collections::BTreeSet<_> = (0..1000).map(|number| load.key(number)).collect();
        assert_eq!(keys.len(), 1000);
        assert!(keys.iter().all(|key| key.len() == 259 && key.starts_with(b"/p/")));
    }
}
