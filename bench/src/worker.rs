//! One thread of the load generator: its connections, one epoll and one timer.
//!
//! A turn reads from every connection that has something, begins what is due, and writes each connection once.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};

use crate::connection::{Clock, Connection, Step};
use crate::schedule::{Due, Schedule};
use crate::tally::Tally;
use crate::undo;
use crate::workload::{Next, Workload};

/// What the timer's events carry in place of a connection's index.
const TIMER: u64 = u64::MAX;
/// Events taken in one turn; further ones come with the next.
const EVENTS_MAX: usize = 1_024;
/// Bytes read from a connection in one turn.
const READ_BYTES: usize = 256 << 10;
const NS_PER_S: u64 = 1_000_000_000;

/// What threads of a run and its owner tell each other.
#[derive(Debug, Default)]
pub struct Signals {
    /// Requests that have their outcome; watched by the progress bar.
    pub settled: AtomicU64,
    /// Begin no more requests.
    pub stop: AtomicBool,
}

/// A thread's state.
pub struct Worker<'a> {
    signals: &'a Signals,
    /// What `signals` was told of this thread.
    told: u64,
    epoll: OwnedFd,
    timer: OwnedFd,
    connections: Vec<Connection>,
    schedule: Schedule,
    workload: Workload,
    clock: Clock,
    tally: Tally,
    /// The connection that gets the next due request, in an open loop.
    turn: usize,
    /// When a connection was last heard of or nothing was owed, and for how long all may be silent.
    heard: Instant,
    silence_max: Duration,
    /// Connections to write to at the end of the turn, in an open loop. One may be in it more than once.
    touched: Vec<usize>,
    input: Vec<u8>,
}

impl<'a> Worker<'a> {
    /// A worker for `connections`, of which there is at least one. When all of them are silent for `silence_max` although
    /// they owe answers, these have failed.
    ///
    /// # Errors
    /// The kernel refuses an epoll or a timer.
    pub fn new(
        connections: Vec<Connection>,
        schedule: Schedule,
        workload: Workload,
        clock: Clock,
        silence_max: Duration,
        signals: &'a Signals,
    ) -> io::Result<Self> {
        assert!(!connections.is_empty(), "flags give each thread a connection");
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        for (index, connection) in connections.iter().enumerate() {
            if let Some(socket) = connection.socket() {
                epoll::add(&epoll, socket, EventData::new_u64(index as u64), EventFlags::IN)?;
            }
        }
        let tally = Tally::new(workload.classes().len());
        Ok(Self {
            signals,
            told: 0,
            epoll,
            timer,
            connections,
            schedule,
            workload,
            clock,
            tally,
            turn: 0,
            heard: Instant::now(),
            silence_max,
            touched: Vec::new(),
            input: vec![0; READ_BYTES],
        })
    }

    /// Runs to the end and gives what was counted.
    ///
    /// # Errors
    /// The kernel refuses to wait. What goes wrong with connections is counted instead.
    pub fn run(mut self) -> io::Result<Tally> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_MAX);
        self.begin_all()?;
        while !self.is_done() {
            self.wait(&mut events)?;
            for event in events.drain(..) {
                let data = event.data.u64();
                if data != TIMER {
                    self.serve(data as usize, event.flags)?;
                }
            }
            if self.schedule.is_open_loop() {
                self.deal()?;
            }
            self.signal();
        }
        self.signal();
        Ok(self.tally)
    }

    /// Tells how far it is, and hears whether to go on.
    fn signal(&mut self) {
        let settled = self.tally.settled();
        self.signals.settled.fetch_add(settled - self.told, Ordering::Relaxed);
        self.told = settled;
        if self.signals.stop.load(Ordering::Relaxed) || undo::is_ending() {
            self.schedule.stop();
        }
    }

    /// Begins as much as there is room for.
    fn begin_all(&mut self) -> io::Result<()> {
        if self.schedule.is_open_loop() {
            return self.deal();
        }
        for index in 0..self.connections.len() {
            self.fill(index, Instant::now());
            self.flush(index)?;
        }
        Ok(())
    }

    /// Whether every request has its outcome. Those that cannot begin any more get theirs here.
    fn is_done(&mut self) -> bool {
        if self.connections.iter().any(|connection| connection.in_flight() > 0) {
            return false;
        }
        if !self.schedule.is_exhausted() {
            let refusals: Option<Vec<_>> = self.connections.iter().map(Connection::refusal).collect();
            let Some(refusals) = refusals else { return false };
            let why = format!("not sent, no connection is left: {}", refusals.last().unwrap_or(&""));
            self.tally.failed(&why, self.schedule.left());
        }
        true
    }

    /// Waits for events, at most until the next request is due.
    fn wait(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        self.arm()?;
        let left = self.silence_max.saturating_sub(self.heard.elapsed());
        let left = Timespec::try_from(left).expect("a bound on silence is short");
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), Some(&left)) {
            // A signal, such as after a stop; it is not the server that was heard.
            Err(rustix::io::Errno::INTR) => {}
            waited => {
                waited?;
            }
        }
        let owes_nothing = self.connections.iter().all(|connection| connection.in_flight() == 0);
        if owes_nothing || events.iter().any(|event| event.data.u64() != TIMER) {
            self.heard = Instant::now();
        } else if self.heard.elapsed() >= self.silence_max {
            self.give_up();
        }
        Ok(())
    }

    /// Sets the timer to the next due request, if there is room for it.
    fn arm(&mut self) -> io::Result<()> {
        let Some(due_ns) = self.schedule.next_due_ns() else { return Ok(()) };
        if !self.connections.iter().any(Connection::has_room) {
            return self.set_timer(0);
        }
        // A timer of 0 would be none.
        self.set_timer(due_ns.saturating_sub(self.clock.ns(Instant::now())).max(1))
    }

    /// Sets the timer to `after_ns` from now; 0 stops it.
    fn set_timer(&self, after_ns: u64) -> io::Result<()> {
        let (seconds, nanos) = (after_ns / NS_PER_S, after_ns % NS_PER_S);
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: seconds.cast_signed(), tv_nsec: nanos.cast_signed() },
        };
        rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    /// The silence was too long: what is under way has failed.
    fn give_up(&mut self) {
        let why = format!("no answer for {:?}", self.silence_max);
        for connection in self.connections.iter_mut().filter(|connection| connection.in_flight() > 0) {
            connection.lose(&why, &mut self.tally);
        }
        self.heard = Instant::now();
    }

    /// Deals with what the kernel says of a connection.
    fn serve(&mut self, index: usize, flags: EventFlags) -> io::Result<()> {
        let mut now = None;
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            now = Some(self.connections[index].receive(&mut self.input, &mut self.tally));
        }
        if let Some(now) = now {
            self.follow(index, now);
        }
        if self.schedule.is_open_loop() {
            self.touched.push(index);
            return Ok(());
        }
        if let Some(now) = now {
            self.fill(index, now);
        }
        self.flush(index)
    }

    /// Begins the next steps of the chains whose last one was answered on a connection.
    fn follow(&mut self, index: usize, now: Instant) {
        let connection = &mut self.connections[index];
        if connection.steps.is_empty() {
            return;
        }
        let now_ns = self.clock.ns(now);
        let mut steps = std::mem::take(&mut connection.steps);
        for Step { chain, start_ns, answer } in steps.drain(..) {
            match self.workload.follow(chain, answer) {
                Ok(Next::Step) => {
                    let due = Due { number: 0, start_ns };
                    connection.begin(due, &self.workload.step(chain), &mut self.tally);
                }
                Ok(Next::Done { class, conflicts }) => {
                    self.tally.answered(class, now_ns, now_ns.saturating_sub(start_ns));
                    if conflicts > 0 {
                        self.tally.note("transactions tried again after a conflict", conflicts);
                    }
                }
                Err(why) => self.tally.failed(&why, 1),
            }
        }
        connection.steps = steps;
    }

    /// Begins requests on a connection while it has room and any is due.
    fn fill(&mut self, index: usize, now: Instant) {
        let now_ns = self.clock.ns(now);
        let connection = &mut self.connections[index];
        while connection.has_room() {
            let Some(due) = self.schedule.take(now_ns) else { return };
            connection.begin(due, &self.workload.request(due.number, due.start_ns), &mut self.tally);
        }
    }

    /// Ends a turn of an open loop: begins all that is due, on one connection after the other, and writes.
    fn deal(&mut self) -> io::Result<()> {
        let now_ns = self.clock.ns(Instant::now());
        while let Some(index) = self.next_with_room() {
            let Some(due) = self.schedule.take(now_ns) else { break };
            let request = self.workload.request(due.number, due.start_ns);
            self.connections[index].begin(due, &request, &mut self.tally);
            self.turn = (index + 1) % self.connections.len();
            self.touched.push(index);
        }
        let mut touched = std::mem::take(&mut self.touched);
        let result = touched.drain(..).try_for_each(|index| self.flush(index));
        self.touched = touched;
        result
    }

    fn next_with_room(&self) -> Option<usize> {
        let count = self.connections.len();
        (0..count).map(|step| (self.turn + step) % count).find(|&index| self.connections[index].has_room())
    }

    /// Writes to a connection, and asks to be told when it takes more if it did not take all.
    fn flush(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let was_blocked = connection.is_blocked();
        connection.flush(&mut self.tally);
        if !connection.steps.is_empty() {
            self.follow(index, Instant::now());
        }
        let connection = &mut self.connections[index];
        if connection.is_blocked() != was_blocked {
            let more = if connection.is_blocked() { EventFlags::OUT } else { EventFlags::empty() };
            let data = EventData::new_u64(index as u64);
            if let Some(socket) = connection.socket() {
                epoll::modify(&self.epoll, socket, data, EventFlags::IN | more)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::num::NonZeroU64;

    use super::*;
    use crate::link::Link;
    use crate::schedule::Share;
    use crate::workload::{Reading, Target};

    /// Runs against a server that takes connections and says nothing.
    fn run_silent(rate: Option<NonZeroU64>) -> Tally {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let socket = TcpStream::connect(listener.local_addr().expect("is bound")).expect("connects");
        let clock = Clock { began: Instant::now() };
        let workload = Workload::range(Target::Range("a".to_owned(), String::new()), Reading::default());
        let link = Link::over(socket, "test:1", "").expect("has memory");
        let (connection, signals) = (Connection::new(link, 3, clock), Signals::default());
        let schedule = Schedule::new(Share { worker: 0, workers: 1, total: 10 }, rate);
        let silence_max = Duration::from_millis(20);
        let worker = Worker::new(vec![connection], schedule, workload, clock, silence_max, &signals);
        worker.expect("an epoll").run().expect("runs")
    }

    #[test]
    fn a_silent_server_ends_the_run() {
        for rate in [None, NonZeroU64::new(1_000)] {
            let errors = run_silent(rate).errors;
            assert_eq!(errors["connection lost: no answer for 20ms"], 3, "{errors:?}");
            assert_eq!(errors.values().sum::<u64>(), 10, "{errors:?}");
        }
    }
}
