//! What is done to a cluster, and undone.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::ValueEnum;
use rustix::process::Signal;
use windlass_bench::throttle::Throttle;
use windlass_replica::oracle::generate::Random;

use crate::damage::Damage;
use crate::rig::{MEMBERS, Rig, Start};
use crate::small_disk::Foreign;
use crate::story::Story;

/// Exit codes of a start that is refused because of what is on the disk: not this member's, newer, of another one, damaged.
pub const REFUSALS: [i32; 4] = [11, 12, 13, 15];

/// How long members stay dead, still, cut off, full or slow.
const HOLD_MS: std::ops::Range<u64> = 200..4000;

/// Writes per second of a slow disk.
const SLOW_IOPS: std::ops::Range<u64> = 4..60;

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// kill -9 of one member, two or all.
    Kill,
    /// SIGTERM, and a start.
    Stop,
    /// SIGSTOP and SIGCONT.
    Pause,
    /// A member, a pair or one direction is cut off from the network.
    Partition,
    /// A member's disk is full.
    Fill,
    /// A member's disk is slow.
    Slow,
    /// A byte of a stopped member's files is changed.
    Damage,
    /// Another member is made the leader.
    Move,
}

/// One fault.
#[derive(Clone, Debug)]
pub enum Fault {
    Kill(Vec<usize>),
    Stop(usize),
    Pause(Vec<usize>),
    Isolate(usize),
    OneWay { from: usize, to: usize },
    Link(usize, usize),
    Fill(usize),
    Slow { member: usize, write_iops: u64 },
    Damage(usize),
    Move(usize),
}

impl Fault {
    /// One of a kind.
    pub fn of(kind: Kind, random: &mut Random) -> Self {
        let member = random.below(MEMBERS as u64) as usize;
        let other = (member + 1 + random.below(MEMBERS as u64 - 1) as usize) % MEMBERS;
        let several = |random: &mut Random| match random.below(6) {
            0..4 => vec![member],
            4 => vec![member, other],
            _ => (0..MEMBERS).collect(),
        };
        match kind {
            Kind::Kill => Self::Kill(several(random)),
            Kind::Stop => Self::Stop(member),
            Kind::Pause => Self::Pause(several(random)),
            Kind::Partition => match random.below(3) {
                0 => Self::Isolate(member),
                1 => Self::OneWay { from: member, to: other },
                _ => Self::Link(member, other),
            },
            Kind::Fill => Self::Fill(member),
            Kind::Slow => {
                let write_iops = SLOW_IOPS.start + random.below(SLOW_IOPS.end - SLOW_IOPS.start);
                Self::Slow { member, write_iops }
            }
            Kind::Damage => Self::Damage(member),
            Kind::Move => Self::Move(member),
        }
    }

    /// How it is counted.
    fn name(&self) -> String {
        match self {
            Self::Kill(who) => format!("kill -9 of {}", number(who)),
            Self::Stop(_) => "SIGTERM of one".to_owned(),
            Self::Pause(who) => format!("SIGSTOP of {}", number(who)),
            Self::Isolate(_) => "one cut off from all".to_owned(),
            Self::OneWay { .. } => "one direction cut".to_owned(),
            Self::Link(..) => "one link cut".to_owned(),
            Self::Fill(_) => "disk full".to_owned(),
            Self::Slow { .. } => "disk slow".to_owned(),
            Self::Damage(_) => "byte changed".to_owned(),
            Self::Move(_) => "leadership moved".to_owned(),
        }
    }

    /// The members that it strikes.
    fn members(&self) -> Vec<usize> {
        match self {
            Self::Kill(who) | Self::Pause(who) => who.clone(),
            Self::OneWay { from, to } => vec![*from, *to],
            Self::Link(a, b) => vec![*a, *b],
            &Self::Stop(i)
            | &Self::Isolate(i)
            | &Self::Fill(i)
            | &Self::Slow { member: i, .. }
            | &Self::Damage(i)
            | &Self::Move(i) => vec![i],
        }
    }

    /// Whether another fault may come with it. Two that strike one member's process or cables would get in each other's
    /// way; and a member whose files are damaged is promised nothing where the others fail, too.
    pub fn goes_with(&self, other: &Self) -> bool {
        let apart = || !self.members().iter().any(|i| other.members().contains(i));
        let alone = |fault: &Self| matches!(fault, Self::Damage(_) | Self::Stop(_));
        !alone(self) && !alone(other) && apart()
    }
}

fn number(who: &[usize]) -> &'static str {
    match who.len() {
        1 => "one",
        2 => "two",
        _ => "all",
    }
}

/// What is to be undone.
enum Held {
    Dead(Vec<usize>),
    Still(Vec<usize>),
    Isolated(usize),
    Cut(Vec<(usize, usize)>),
    Full(Foreign),
    Slow(Throttle),
    Nothing,
}

/// Strikes, and keeps the counts.
pub struct Striker {
    pub random: Random,
    /// Faults by name.
    pub counts: BTreeMap<String, usize>,
}

impl Striker {
    /// Some faults at once, for some time, with everything undone at the end.
    ///
    /// # Errors
    /// If a member does what it must not.
    pub fn strike(&mut self, faults: &[Fault], rig: &mut Rig, story: &mut Story) -> Result<()> {
        let mut held = Vec::new();
        for fault in faults {
            story.tell(&format!("{}: {fault:?}", fault.name()));
            *self.counts.entry(fault.name()).or_default() += 1;
            held.push(self.begin(fault, rig, story)?);
        }
        self.hold();
        for held in held.into_iter().rev() {
            end(held, rig)?;
        }
        Ok(())
    }

    /// Time passes.
    pub fn hold(&mut self) {
        let ms = HOLD_MS.start + self.random.below(HOLD_MS.end - HOLD_MS.start);
        std::thread::sleep(Duration::from_millis(ms));
    }

    fn begin(&mut self, fault: &Fault, rig: &mut Rig, story: &mut Story) -> Result<Held> {
        Ok(match fault {
            Fault::Kill(who) => {
                who.iter().for_each(|&i| rig.cluster.kill(i));
                Held::Dead(who.clone())
            }
            &Fault::Stop(i) => {
                let ended = rig.cluster.take(i).stop_gracefully();
                if ended.code() != 143 {
                    bail!("after SIGTERM m{} ended with {}", i + 1, ended.status);
                }
                Held::Dead(vec![i])
            }
            Fault::Pause(who) => {
                who.iter().for_each(|&i| rig.cluster.signal(i, Signal::STOP));
                Held::Still(who.clone())
            }
            &Fault::Isolate(i) => {
                network(rig).isolate(i);
                Held::Isolated(i)
            }
            &Fault::OneWay { from, to } => cut(rig, vec![(from, to)]),
            &Fault::Link(a, b) => cut(rig, vec![(a, b), (b, a)]),
            &Fault::Fill(i) => Held::Full(rig.disk(i).expect("only where there are disks").fill()),
            &Fault::Slow { member, write_iops } => Held::Slow(rig.throttle(member, write_iops)?),
            &Fault::Damage(i) => {
                self.damage(i, rig, story)?;
                Held::Nothing
            }
            &Fault::Move(to) => {
                rig.move_leader(to);
                Held::Nothing
            }
        })
    }

    /// Stops a member in one of two ways, changes a byte, and sees what its start makes of that.
    fn damage(&mut self, i: usize, rig: &mut Rig, story: &mut Story) -> Result<()> {
        if self.random.one_in(2) {
            rig.cluster.kill(i);
        } else {
            rig.cluster.take(i).stop_gracefully();
        }
        let damage = Damage::make(&rig.data_folder(i), &mut self.random)?;
        story.tell(&format!("  m{}: {damage}", i + 1));
        let start = rig.start_damaged(i)?;
        let outcome = match &start {
            Start::Sound => "harmless",
            Start::Repaired => "repaired by the others",
            Start::Refused(code, said) if REFUSALS.contains(code) && !said.is_empty() => "refused",
            Start::Refused(code, said) => bail!("m{} ended with {code} and said {said:?}: {damage}", i + 1),
        };
        story.tell(&format!("  m{}: {outcome}{}", i + 1, said(&start)));
        *self.counts.entry(format!("byte changed, {outcome}")).or_default() += 1;
        if matches!(start, Start::Refused(..)) {
            story.tell(&format!("  m{}: is removed, and added with an empty disk", i + 1));
            rig.replace(i)?;
        }
        Ok(())
    }
}

fn said(start: &Start) -> String {
    match start {
        Start::Refused(code, said) => format!(" with {code}: {said}"),
        Start::Sound | Start::Repaired => String::new(),
    }
}

fn network(rig: &Rig) -> &crate::network::Network {
    rig.network.as_ref().expect("only where there are networks")
}

fn cut(rig: &Rig, directions: Vec<(usize, usize)>) -> Held {
    directions.iter().for_each(|&(from, to)| network(rig).cut_one_way(from, to));
    Held::Cut(directions)
}

fn end(held: Held, rig: &mut Rig) -> Result<()> {
    match held {
        Held::Dead(who) => who.iter().for_each(|&i| rig.cluster.spawn(i)),
        Held::Still(who) => who.iter().for_each(|&i| rig.cluster.signal(i, Signal::CONT)),
        Held::Isolated(i) => network(rig).join_again(i),
        Held::Cut(directions) => {
            directions.iter().for_each(|&(from, to)| network(rig).mend_one_way(from, to));
        }
        Held::Full(foreign) => foreign.remove(),
        Held::Slow(throttle) => throttle.lift()?,
        Held::Nothing => {}
    }
    Ok(())
}
