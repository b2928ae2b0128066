//! Passwords, hashed and compared on threads of their own: one takes tens of milliseconds, on purpose.

use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Once};
use std::time::Instant;

use parking_lot::Mutex;
use ring::hmac;
use ring::rand::SystemRandom;
use windlass_types::{Code, RequestError};

use super::jws::Jws;
use super::now_s;

/// Most passwords that wait for a thread. At the bound further calls are refused with `too many requests`.
const WAITING_MAX: usize = 256;

/// Most threads, so that guessing passwords takes no more of a machine.
const THREADS_MAX: usize = 4;

/// Passwords that were found to be right and are not hashed again, by their hashes. At the bound all are forgotten.
const VERIFIED_MAX: usize = 10_000;

/// What is to be done with a password.
pub enum Work {
    /// Hash it.
    Hash(String),
    /// Compare it with a hash, and sign a token if it is right.
    Login {
        /// What the client gave.
        password: String,
        /// What the log has.
        hash: String,
        /// Who signs, for whom, and as of which revision of users and roles; none if tokens are assigned by the log.
        sign: Option<(Arc<Jws>, String, u64)>,
    },
}

/// How it went.
#[derive(Debug)]
pub enum Done {
    /// The hash.
    Hashed(String),
    /// The password is right; the token, if one was to be signed.
    Right(Option<String>),
    /// It was not done, and why.
    Refused {
        /// The code.
        code: Code,
        /// The text.
        text: String,
    },
}

impl Done {
    fn refused(error: RequestError) -> Self {
        Self::Refused { code: error.code(), text: error.text().to_owned() }
    }
}

struct Job {
    work: Work,
    /// When nobody waits for it any more.
    until: Instant,
    done: Box<dyn FnOnce(Done) + Send>,
}

/// The threads and what they know.
pub struct Passwords {
    cost: u32,
    jobs: SyncSender<Job>,
    waiting: Arc<Mutex<Receiver<Job>>>,
    verified: Arc<Verified>,
    /// Threads begin with the first password.
    begun: Once,
}

/// Which passwords were found to be right. They are kept as keyed digests: the key is this run's, so that a core file tells
/// less than the hashes do.
struct Verified {
    key: hmac::Key,
    by_hash: Mutex<HashMap<String, hmac::Tag>>,
}

impl Verified {
    fn knows(&self, hash: &str, password: &str) -> bool {
        let known = self.by_hash.lock().get(hash).copied();
        known.is_some_and(|tag| hmac::verify(&self.key, password.as_bytes(), tag.as_ref()).is_ok())
    }

    fn note(&self, hash: &str, password: &str) {
        let tag = hmac::sign(&self.key, password.as_bytes());
        let mut known = self.by_hash.lock();
        if known.len() >= VERIFIED_MAX {
            known.clear();
        }
        known.insert(hash.to_owned(), tag);
    }
}

impl Passwords {
    /// Threads that hash with this cost. There are none before the first password; then they end with the process.
    #[must_use]
    pub fn new(cost: u32) -> Self {
        let (jobs, waiting) = mpsc::sync_channel(WAITING_MAX);
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        let key = key.expect("the kernel has random numbers");
        Self {
            cost,
            jobs,
            waiting: Arc::new(Mutex::new(waiting)),
            verified: Arc::new(Verified { key, by_hash: Mutex::default() }),
            begun: Once::new(),
        }
    }

    fn begin(&self) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for number in 0..(cores / 2).clamp(1, THREADS_MAX) {
            let (waiting, verified) = (Arc::clone(&self.waiting), Arc::clone(&self.verified));
            let (cost, thread) = (self.cost, std::thread::Builder::new().name(format!("password-{number}")));
            thread.spawn(move || run(&waiting, &verified, cost)).expect("the system gives a thread");
        }
    }

    /// Has something done by `until`; `done` is called on another thread, or on this one if it need not wait.
    pub fn submit(&self, work: Work, until: Instant, done: impl FnOnce(Done) + Send + 'static) {
        if let Work::Login { password, hash, sign: None } = &work
            && self.verified.knows(hash, password)
        {
            return done(Done::Right(None));
        }
        self.begun.call_once(|| self.begin());
        match self.jobs.try_send(Job { work, until, done: Box::new(done) }) {
            Ok(()) => {}
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                (job.done)(Done::refused(RequestError::TooManyRequests));
            }
        }
    }
}

fn run(waiting: &Mutex<Receiver<Job>>, verified: &Verified, cost: u32) {
    loop {
        // Another thread waits for the lock meanwhile, and then for the next one.
        let Ok(job) = waiting.lock().recv() else { return };
        // Nobody hears of what is overdue.
        if Instant::now() < job.until {
            (job.done)(perform(&job.work, verified, cost));
        }
    }
}

fn perform(work: &Work, verified: &Verified, cost: u32) -> Done {
    match work {
        Work::Hash(password) => match bcrypt::non_truncating_hash(password, cost) {
            Ok(hash) => Done::Hashed(hash),
            // In the words of Go's bcrypt, which etcd passes on.
            Err(bcrypt::BcryptError::Truncation(_)) => {
                let text = "bcrypt: password length exceeds 72 bytes".to_owned();
                Done::Refused { code: Code::Unknown, text }
            }
            Err(error) => Done::Refused { code: Code::Unknown, text: error.to_string() },
        },
        Work::Login { password, hash, sign } => {
            if !verified.knows(hash, password) {
                // What is no hash fits no password.
                if !bcrypt::verify(password, hash).unwrap_or(false) {
                    return Done::refused(RequestError::AuthFailed);
                }
                verified.note(hash, password);
            }
            let Some((jws, user, revision)) = sign else { return Done::Right(None) };
            match jws.sign(user, *revision, now_s()) {
                Ok(token) => Done::Right(Some(token)),
                Err(error) => Done::Refused { code: Code::Unknown, text: error.to_string() },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn perform_now(passwords: &Passwords, work: Work) -> Done {
        let (told, heard) = mpsc::channel();
        passwords.submit(work, Instant::now() + Duration::from_secs(60), move |done| {
            told.send(done).expect("the test waits");
        });
        heard.recv_timeout(Duration::from_secs(60)).expect("it is done")
    }

    fn login(password: &str, hash: &str) -> Work {
        Work::Login { password: password.into(), hash: hash.into(), sign: None }
    }

    #[test]
    fn a_password_is_compared_once_and_then_remembered() {
        let passwords = Passwords::new(4);
        let Done::Hashed(hash) = perform_now(&passwords, Work::Hash("pw".into())) else { panic!("hashed") };
        assert!(!passwords.verified.knows(&hash, "pw"));
        assert!(matches!(perform_now(&passwords, login("pw", &hash)), Done::Right(None)));
        assert!(passwords.verified.knows(&hash, "pw") && !passwords.verified.knows(&hash, "PW"));
        for (password, hash) in [("PW", &*hash), ("pw", ""), ("", &*hash), ("pw", "no hash")] {
            let done = perform_now(&passwords, login(password, hash));
            assert!(matches!(done, Done::Refused { code: Code::InvalidArgument, .. }), "{done:?}");
        }
    }

    #[test]
    fn hashes_of_go_are_understood() {
        // Go writes the older name of the same algorithm.
        let hash =
            bcrypt::hash_with_result("abc", 4).expect("hashed").format_for_version(bcrypt::Version::TwoA);
        let passwords = Passwords::new(4);
        assert!(matches!(perform_now(&passwords, login("abc", &hash)), Done::Right(None)));
    }

    #[test]
    fn a_password_that_bcrypt_would_cut_is_refused() {
        let done = perform_now(&Passwords::new(4), Work::Hash("x".repeat(73)));
        assert!(matches!(done, Done::Refused { code: Code::Unknown, .. }), "{done:?}");
    }

    #[test]
    fn what_finds_no_place_in_the_queue_is_refused() {
        let passwords = Passwords::new(4);
        let (told, heard) = mpsc::channel();
        // No thread takes anything meanwhile.
        let waiting = passwords.waiting.lock();
        for _ in 0..2 * WAITING_MAX {
            let told = told.clone();
            passwords.submit(Work::Hash("pw".into()), Instant::now(), move |done| drop(told.send(done)));
        }
        drop((told, waiting));
        // What found no place was told so at once; what waited too long is not done at all.
        let told: Vec<Done> = heard.iter().collect();
        assert_eq!(told.len(), WAITING_MAX);
        assert!(told.iter().all(|done| matches!(done, Done::Refused { .. })));
    }
}
