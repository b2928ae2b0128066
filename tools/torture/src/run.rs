//! One run: clients that go on all the time, faults one after the other and sometimes two at once, and the verdict.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use windlass_api::etcdserverpb::{HashKvRequest, RangeRequest};
use windlass_replica::oracle::generate::Random;

use crate::calls::{found, revision_of};
use crate::faults::{Fault, Kind, Striker};
use crate::flags::RunFlags;
use crate::history::{Found, History};
use crate::judge::{Judgement, judge};
use crate::load::Clients;
use crate::order::Order;
use crate::rig::{MEMBERS, Rig};
use crate::story::Story;

/// How soon a write must be acknowledged once all members serve.
const SERVE_WITHIN: Duration = Duration::from_secs(30);

/// How soon many writes must be acknowledged.
const WRITES_WITHIN: Duration = Duration::from_secs(120);

/// How soon leases must have ended that nobody renews: the longest time to live, again for a new leader, and room.
const LEASES_END_WITHIN: Duration = Duration::from_secs(45);

/// How soon watches must be told everything once nothing happens any more.
const WATCHES_END_WITHIN: Duration = Duration::from_secs(60);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Writes between two rounds of faults.
const CALM_WRITES: u64 = 40;

/// Revisions that a compaction leaves behind the slowest watch.
const COMPACT_BEHIND: i64 = 400;

/// A compaction comes after one round of so many.
const COMPACT_ONE_IN: u64 = 4;

/// Broken promises that are printed; the file has all.
const BROKEN_SHOWN: usize = 20;

/// Runs, and says whether every promise was kept.
///
/// # Errors
/// If the cluster cannot be set up.
pub fn run(flags: &RunFlags) -> Result<bool> {
    std::fs::create_dir_all(&flags.folder).context("cannot make the folder")?;
    let folder = flags.folder.canonicalize()?;
    let mut story = Story::begin(&folder)?;
    let seed = flags.seed();
    story.say(&format!(
        "seed {seed}, {} s, logs and history in {}",
        flags.duration.as_secs(),
        folder.display()
    ));
    let mut rig = Rig::start(&folder)?;
    let kinds = kinds(&flags.faults, &rig, &mut story);
    let mut clients = Clients::start(&rig.endpoints(), seed);
    let mut striker = Striker { random: Random::new(seed), counts: std::collections::BTreeMap::new() };
    let tortured = torture(flags.duration, &kinds, &mut striker, (&mut rig, &clients, &mut story));
    let mut history = clients.stop_writing();
    let mut broken: Vec<String> = tortured.err().map(|error| format!("{error:#}")).into_iter().collect();
    if broken.is_empty() {
        let ended = end(&rig, &clients);
        broken.extend(ended.err().map(|error| format!("{error:#}")));
    }
    clients.load.watch_no_more.store(!broken.is_empty(), Ordering::Relaxed);
    history.append(clients.finish());
    history.write(&mut BufWriter::new(File::create(folder.join("history.jsonl"))?))?;
    let judgement = judge(&history);
    if broken.is_empty() {
        broken.extend(compare(&rig, &history).err().map(|error| format!("{error:#}")));
    }
    if broken.is_empty() {
        broken.extend(judgement.broken.iter().cloned());
    } else {
        // Watches that were not waited for have gaps: only what they say, not what they leave out, is held against it.
        broken.extend(judgement.broken.iter().filter(|why| !why.contains("was never told")).cloned());
    }
    report(&striker, &history, &judgement, &mut story);
    for why in broken.iter().take(BROKEN_SHOWN) {
        story.say(&format!("BROKEN: {why}"));
    }
    if !broken.is_empty() {
        keep_data(&rig, &folder, &mut story);
    }
    let verdict = if broken.is_empty() {
        "every promise was kept".to_owned()
    } else {
        format!("{} broken promises", broken.len())
    };
    story.say(&format!("seed {seed}: {verdict}"));
    Ok(broken.is_empty())
}

/// The faults that can be had here, of those that are wanted.
fn kinds(wanted: &[Kind], rig: &Rig, story: &mut Story) -> Vec<Kind> {
    let all: Vec<Kind> = if wanted.is_empty() {
        <Kind as clap::ValueEnum>::value_variants().to_vec()
    } else {
        wanted.to_vec()
    };
    let why_not = |kind: &Kind| match kind {
        Kind::Partition if rig.network.is_none() => Some("there are no network namespaces".to_owned()),
        Kind::Fill | Kind::Slow if rig.disk(0).is_none() => Some("no small disk can be mounted".to_owned()),
        Kind::Slow => {
            let tried = rig.throttle(0, u64::from(u32::MAX)).and_then(|throttle| throttle.lift());
            tried.err().map(|error| format!("{error:#}"))
        }
        _ => None,
    };
    let mut kept = Vec::new();
    for kind in all {
        match why_not(&kind) {
            Some(why) => story.say(&format!("left out: {kind:?}, as {why}")),
            None => kept.push(kind),
        }
    }
    kept
}

/// Faults until the time is over.
fn torture(
    duration: Duration,
    kinds: &[Kind],
    striker: &mut Striker,
    (rig, clients, story): (&mut Rig, &Clients, &mut Story),
) -> Result<()> {
    let begun = Instant::now();
    calm(rig, clients)?;
    while begun.elapsed() < duration && !kinds.is_empty() {
        let mut draw = || {
            let kind = kinds[striker.random.below(kinds.len() as u64) as usize];
            Fault::of(kind, &mut striker.random)
        };
        let first = draw();
        let second = draw();
        let mut faults = vec![first];
        if striker.random.one_in(3) && faults[0].goes_with(&second) {
            faults.push(second);
        }
        striker.strike(&faults, rig, story)?;
        calm(rig, clients)?;
        if striker.random.one_in(COMPACT_ONE_IN) {
            compact(rig, clients, story);
        }
    }
    Ok(())
}

/// Waits until everyone serves and some writes were acknowledged.
fn calm(rig: &mut Rig, clients: &Clients) -> Result<()> {
    rig.wait_until_well()?;
    let target = clients.load.acknowledged() + CALM_WRITES;
    wait(SERVE_WITHIN, "acknowledged writes", || clients.load.acknowledged() >= target)
}

/// Waits until so many more writes were acknowledged, without faults.
///
/// # Errors
/// If that takes too long.
pub fn wait_for_writes(clients: &Clients, writes: u64) -> Result<()> {
    let target = clients.load.acknowledged() + writes;
    wait(WRITES_WITHIN, "acknowledged writes", || clients.load.acknowledged() >= target)
}

/// Compacts what no watch waits for.
pub fn compact(rig: &Rig, clients: &Clients, story: &mut Story) {
    let revision = clients.load.watched_by_all() - COMPACT_BEHIND;
    if revision > 1 {
        let request = windlass_api::etcdserverpb::CompactionRequest { revision, physical: false };
        let compacted = rig.client(0).compact(&request).is_ok();
        story.tell(&format!("compaction at {revision}: {}", if compacted { "done" } else { "refused" }));
    }
}

/// Nothing happens any more: leases end, watches are told everything.
fn end(rig: &Rig, clients: &Clients) -> Result<()> {
    let mut client = rig.client(0);
    wait(LEASES_END_WITHIN, "leases to end that nobody renews", || {
        let leased = RangeRequest { key: "l/".into(), range_end: "l0".into(), ..RangeRequest::default() };
        client.range(&leased).is_ok_and(|response| response.kvs.is_empty())
    })?;
    let revision = rig.revision_at(0)?;
    clients.load.watch_until.store(revision, Ordering::Relaxed);
    wait(WATCHES_END_WITHIN, "watches to be told everything", || clients.load.watched_by_all() >= revision)
}

fn wait(time: Duration, what: &str, mut look: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + time;
    while !look() {
        ensure!(Instant::now() < deadline, "waited {} s in vain for {what}", time.as_secs());
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Whether all members hold the same, and what the order of all changes says.
fn compare(rig: &Rig, history: &History) -> Result<()> {
    let order = Order::of(&history.streams, &mut Vec::new());
    let expected: Vec<Found> = order.all("", order.last()).into_iter().cloned().collect();
    let mut hashes = Vec::new();
    for i in 0..MEMBERS {
        let mut client = rig.client(i);
        let (key, range_end) = (vec![0].into(), vec![0].into());
        let all = RangeRequest { key, range_end, serializable: true, ..RangeRequest::default() };
        let response = client.range(&all)?;
        let revision = revision_of(response.header)?;
        ensure!(revision == order.last(), "m{} is at revision {revision}, not {}", i + 1, order.last());
        let held: Vec<Found> = response.kvs.iter().map(found).collect();
        ensure!(held == expected, "m{} holds {held:?}, and should hold {expected:?}", i + 1);
        let hash = client.hash_kv(&HashKvRequest { revision })?;
        hashes.push((hash.hash, hash.compact_revision));
    }
    ensure!(hashes.iter().all(|hash| *hash == hashes[0]), "the members' hashes differ: {hashes:?}");
    Ok(())
}

fn report(striker: &Striker, history: &History, judgement: &Judgement, story: &mut Story) {
    let (connections, bookmarks) =
        history.streams.iter().fold((0, 0), |(c, b), stream| (c + stream.connections, b + stream.bookmarks));
    let renewals: usize = history.leases.iter().map(|lease| lease.renewed.len() - 1).sum();
    story.say(&format!("\n{} calls, revision {}", history.operations.len(), judgement.revision));
    story.say(&format!("{} writes without an answer took effect", judgement.late));
    let (ordered, undecided) = judgement.searched;
    story.say(&format!("{ordered} keys have an order of their own, for {undecided} the search gave up"));
    story.say(&format!("{MEMBERS} watches over {connections} connections, {bookmarks} bookmarks"));
    story.say(&format!("{} leases, {renewals} renewals", history.leases.len()));
    for (text, count) in history.failures() {
        story.say(&format!("{count:6} calls failed: {text}"));
    }
    for (name, count) in &striker.counts {
        story.say(&format!("{count:6} {name}"));
    }
}

/// Keeps what the members hold beside their logs: the small disks go with this process.
fn keep_data(rig: &Rig, folder: &Path, story: &mut Story) {
    for i in 0..MEMBERS {
        let (from, to) = (rig.data_folder(i), folder.join(format!("m{}", i + 1)).join("data-kept"));
        let kept = Command::new("cp").args(["-r", "--sparse=always"]).arg(&from).arg(&to).status();
        if !kept.is_ok_and(|status| status.success()) {
            story.say(&format!("the data of m{} could not be kept", i + 1));
        }
    }
}
