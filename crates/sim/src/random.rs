//! One stream of randomness for each concern, so that a change in one (another fault, say) leaves the others as they
//! were. Everything a run does follows from its seed.

pub use windlass_replica::oracle::generate::Random;

/// What randomness is for.
#[derive(Clone, Copy, Debug)]
pub enum Concern {
    /// The properties of a run: sizes, rates, numbers.
    Profile,
    /// What clients ask.
    Requests,
    /// When clients ask.
    Pace,
    /// Which thread runs when, and what it takes from its mailbox.
    Scheduling,
    /// How long disks take.
    Latency,
    /// Which faults there are, and when.
    Faults,
    /// What a power failure leaves.
    Disks,
    /// How fast clocks go.
    Clocks,
    /// What becomes of what is sent.
    Network,
    /// What rots on disks at rest.
    Rot,
    /// What clients watch, and how they go about it.
    Watching,
    /// What administrators ask for, and who asks.
    Administration,
    /// What happens to clocks.
    Time,
    /// Whose disks are lost.
    Wipes,
}

/// The stream of one concern of a run.
#[must_use]
pub fn stream(seed: u64, concern: Concern) -> Random {
    // Streams of neighbouring seeds must not be shifted copies of each other, as they would be without this step.
    let mut mixed = Random::new(seed ^ ((concern as u64 + 1) << 56));
    Random::new(mixed.number())
}

/// A number in `low..=high`.
pub fn between(random: &mut Random, low: u64, high: u64) -> u64 {
    low + random.below(high - low + 1)
}
