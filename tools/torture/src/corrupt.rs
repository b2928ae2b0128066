//! Random single bytes of a stopped member's files, changed one after the other: what does a start make of each?
//!
//! The files are those of real members that served clients: one that was killed, one that was stopped. Each change is judged by
//! the code of a real start ([`windlass::member::examine`]) in this process, on a copy in memory, so that ten thousand take
//! minutes. Whole processes do the same in a run with `--faults damage`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail, ensure};
use windlass::member::examine::{Contents, Examined, Files, examine};
use windlass::startup::{Config, flags};
use windlass_replica::oracle::generate::Random;
use windlass_types::LogIndex;

use crate::damage::{Damage, Kind};
use crate::faults::REFUSALS;
use crate::flags::CorruptFlags;
use crate::load::Clients;
use crate::rig::Rig;
use crate::run::{compact, wait_for_writes};
use crate::story::Story;

/// Writes of the members whose files are damaged.
const WRITES: u64 = 1500;

/// Where copies in memory can be, on any Linux.
const MEMORY: &str = "/dev/shm";

/// Room that they may take; where there is less in memory, as in some containers, they are on the disk.
const MEMORY_BYTES: u64 = 512 << 20;

/// Between two lines that say how far it is.
const TOLD_EVERY: u64 = 1000;

/// Wrong outcomes that are printed.
const WRONG_SHOWN: usize = 20;

/// What a start made of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// It goes on with exactly what was there.
    Harmless,
    /// It goes on without the last flight of the log, as after a crash in the middle of it; the leader has it.
    TailCut,
    /// It asks the others for a snapshot.
    Repaired,
    /// It says what is wrong, and ends.
    Refused,
}

impl Outcome {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Harmless, "harmless"),
        (Self::TailCut, "tail cut"),
        (Self::Repaired, "repaired by others"),
        (Self::Refused, "refused"),
    ];
}

/// A member's files as they were, and a copy to damage.
struct Template {
    sound: Files,
    /// How a start is configured on the copy.
    config: Config,
    copy: PathBuf,
    /// Whether it ended by itself, and so nothing was in flight.
    stopped: bool,
    contents: HashMap<LogIndex, Contents>,
}

/// Damages, and says whether every start did what it may.
///
/// # Errors
/// If the cluster cannot be set up, or the files cannot be copied.
pub fn run(flags: &CorruptFlags) -> Result<bool> {
    fs::create_dir_all(&flags.folder).context("cannot make the folder")?;
    let folder = flags.folder.canonicalize()?;
    let mut story = Story::begin(&folder)?;
    let seed = flags.seed();
    story.say(&format!("seed {seed}, {} changes", flags.count));
    let memory = tempfile::tempdir_in(if has_room(Path::new(MEMORY)) { Path::new(MEMORY) } else { &folder })?;
    let mut templates = make(&folder, memory.path(), seed, &mut story)?;
    let mut random = Random::new(seed);
    let mut counts: BTreeMap<(Kind, Outcome), u64> = BTreeMap::new();
    let mut wrong = Vec::new();
    // What a start says when it panics is in the outcome; a backtrace of each would hide it.
    std::panic::set_hook(Box::new(|_| {}));
    for number in 1..=flags.count {
        let at = random.below(templates.len() as u64) as usize;
        let template = &mut templates[at];
        let damage = Damage::make(&template.copy, &mut random)?;
        match template.judge() {
            Ok(outcome) => *counts.entry((damage.file.kind, outcome)).or_default() += 1,
            Err(why) => wrong.push(format!("{damage}: {why}")),
        }
        damage.undo()?;
        if number % TOLD_EVERY == 0 {
            story.tell(&format!("{number} changes, {} wrong", wrong.len()));
        }
    }
    drop(std::panic::take_hook());
    report(&counts, &wrong, &mut story);
    Ok(wrong.is_empty())
}

fn has_room(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|fs| fs.f_bavail * fs.f_frsize >= MEMORY_BYTES)
}

fn report(counts: &BTreeMap<(Kind, Outcome), u64>, wrong: &[String], story: &mut Story) {
    let kinds: std::collections::BTreeSet<Kind> = counts.keys().map(|(kind, _)| *kind).collect();
    story.say(&format!("{:24}{}", "", Outcome::ALL.map(|(_, name)| format!("{name:>20}")).concat()));
    let row = |of: &dyn Fn(Outcome) -> u64| {
        Outcome::ALL.map(|(outcome, _)| format!("{:>20}", of(outcome))).concat()
    };
    for kind in kinds {
        let cells = row(&|outcome| counts.get(&(kind, outcome)).copied().unwrap_or(0));
        story.say(&format!("{:24}{cells}", kind.to_string()));
    }
    let total = |outcome| counts.iter().filter(|((_, o), _)| *o == outcome).map(|(_, count)| count).sum();
    story.say(&format!("{:24}{}", "all", row(&total)));
    for why in wrong.iter().take(WRONG_SHOWN) {
        story.say(&format!("WRONG: {why}"));
    }
    story.say(&format!("{} wrong", wrong.len()));
}

/// Has a cluster serve clients, ends a member in each of the two ways, and keeps their files.
fn make(folder: &Path, memory: &Path, seed: u64, story: &mut Story) -> Result<Vec<Template>> {
    let mut rig = Rig::plain(folder)?;
    let mut clients = Clients::start(&rig.endpoints(), seed);
    wait_for_writes(&clients, WRITES)?;
    compact(&rig, &clients, story);
    wait_for_writes(&clients, WRITES)?;
    rig.cluster.kill(0);
    let ended = rig.cluster.take(1).stop_gracefully();
    ensure!(ended.code() == 143, "after SIGTERM a member ended with {}", ended.status);
    clients.stop_writing();
    clients.load.watch_no_more.store(true, Ordering::Relaxed);
    clients.finish();
    let mut templates = Vec::new();
    for (i, stopped) in [(0, false), (1, true)] {
        let (sound, copy) = (memory.join(format!("sound-{i}")), memory.join(format!("copy-{i}")));
        copy_folder(&rig.data_folder(i), &sound)?;
        copy_folder(&sound, &copy)?;
        let config = |data: &Path| config(&rig, i, data);
        let sound = match examine(&config(&sound)?) {
            Ok(Examined::Sound(files)) => *files,
            Ok(Examined::Repaired(error)) => bail!("files that nobody damaged: {error}"),
            Err(error) => bail!("files that nobody damaged: {error}"),
        };
        let config = config(&copy)?;
        templates.push(Template { sound, config, copy, stopped, contents: HashMap::new() });
    }
    Ok(templates)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let done = Command::new("cp").args(["-r", "--sparse=always"]).arg(from).arg(to).status()?;
    ensure!(done.success(), "cannot copy {} to {}", from.display(), to.display());
    Ok(())
}

/// How a member of the cluster is started on this folder.
fn config(rig: &Rig, i: usize, data: &Path) -> Result<Config> {
    let seat = rig.cluster.seat(i);
    let mut arguments = vec![
        format!("--name={}", seat.name),
        format!("--data-dir={}", data.display()),
        format!("--initial-cluster={}", rig.cluster.initial_cluster(&[0, 1, 2])),
        format!("--initial-advertise-peer-urls={}", seat.peer_url()),
        format!("--listen-peer-urls={}", seat.peer_url()),
    ];
    arguments.extend(rig.storage_flags(i));
    let parsed = match flags::parse(&arguments, &[]) {
        Ok(flags::Command::Start(values)) => Config::from_values(&values, 1),
        Ok(_) => bail!("these are flags of a start"),
        Err(error) => Err(error),
    };
    parsed.map_err(|error| match error {
        flags::Error::Usage(text) | flags::Error::Configuration(text) => anyhow::anyhow!(text),
    })
}

impl Template {
    /// What a start makes of the copy; an error if it may not do that.
    fn judge(&mut self) -> Result<Outcome, String> {
        let examined = catch_unwind(AssertUnwindSafe(|| examine(&self.config)));
        let examined = examined.map_err(|panic| format!("a start panics: {}", text_of(&*panic)))?;
        match examined {
            Ok(Examined::Sound(files)) => self.compare(&files),
            Ok(Examined::Repaired(_)) => Ok(Outcome::Repaired),
            Err(error) => {
                let (code, said) = (i32::from(error.reason().code()), error.to_string());
                let clear = REFUSALS.contains(&code) && !said.is_empty();
                if clear { Ok(Outcome::Refused) } else { Err(format!("a start ends with {code}: {said}")) }
            }
        }
    }

    /// Holds what a start would go on with against what was there.
    fn compare(&mut self, files: &Files) -> Result<Outcome, String> {
        let state = files.state();
        if state.index > self.sound.state().index {
            return Err(format!("the shards stand at {state:?}, which they never did"));
        }
        let expected = match self.contents.get(&state.index) {
            Some(contents) => contents.clone(),
            None => self.sound.contents(&state).map_err(|error| error.to_string())?,
        };
        let found = catch_unwind(AssertUnwindSafe(|| files.contents(&state)));
        let found = found.map_err(|panic| format!("loading panics: {}", text_of(&*panic)))?;
        if found.map_err(|error| error.to_string())? != expected {
            return Err(format!("the shards hold something else at {state:?}"));
        }
        self.contents.insert(state.index, expected);
        self.compare_logs(files)
    }

    fn compare_logs(&self, files: &Files) -> Result<Outcome, String> {
        let (was, is) = (self.sound.log(), files.log());
        if was == is {
            return Ok(Outcome::Harmless);
        }
        let same = is.start_index == was.start_index
            && is.start_term == was.start_term
            && is.entries.len() <= was.entries.len()
            && is.entries == was.entries[..is.entries.len()];
        if !same {
            let last = |log: &[_]| log.len();
            let (a, b) = (last(&was.entries), last(&is.entries));
            return Err(format!(
                "the log is another one: {b} entries from {}, not {a} from {}",
                is.start_index, was.start_index
            ));
        }
        let lost = was.entries.len() - is.entries.len();
        let forgot = (is.hard_state.term, is.hard_state.vote) != (was.hard_state.term, was.hard_state.vote);
        if self.stopped && (lost > 0 || forgot) {
            return Err(format!("{lost} entries of a log at rest are gone; vote forgotten: {forgot}"));
        }
        // A commit index is a hint: the leader says it again.
        Ok(if lost == 0 && !forgot { Outcome::Harmless } else { Outcome::TailCut })
    }
}

/// What a panic said.
pub fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
