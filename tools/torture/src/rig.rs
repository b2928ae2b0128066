//! The cluster under torture: three members as real processes, each on a small disk and in a network of its own where this
//! machine lets it, so that disks can be filled and slowed down, and cables cut.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use windlass_api::etcdserverpb::{
    MemberAddRequest, MemberListRequest, MemberRemoveRequest, MoveLeaderRequest, RangeRequest,
};
use windlass_bench::throttle::Throttle;
use windlass_bench::undo::Undo;
use windlass_client::Client;

use crate::calls::revision_of;
use crate::cluster::{Cluster, Seat};
use crate::load::{CALL_TIMEOUT, client_of};
use crate::network::Network;
use crate::process::Scratch;
use crate::small_disk::SmallDisk;

/// Members.
pub const MEMBERS: usize = 3;

/// How soon everyone must serve again once a fault is over. A member that was away is given up by the leader, gets a
/// snapshot and starts anew in that time, on a machine that others use, too.
const WELL_WITHIN: Duration = Duration::from_secs(90);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// How long a member has to answer when it is asked whether it serves.
const ASK: Duration = Duration::from_secs(1);

/// Size of each member's disk: room for some segments of every stream.
const DISK_BYTES: u64 = 512 << 20;

/// The exit code of a start without room.
const NO_ROOM: i32 = 31;

/// Small segments and little log kept for others, so that segments are recycled, and members that were away get a
/// snapshot.
const FLAGS: &[&str] = &[
    "--wal-segment-bytes=4194304",
    "--catch-up-bytes=262144",
    "--watch-progress-notify-interval=1s",
    "--log-level=info",
];

/// What a member logs that is being repaired.
const REPAIRING: &str = "it takes no part until the others have repaired it";

/// How a start with damaged files came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// It serves, and noticed nothing.
    Sound,
    /// It serves after the others have repaired it.
    Repaired,
    /// It ended with this code, and said this.
    Refused(i32, String),
}

/// Makes something that a signal removes, too, if it can be made.
fn undoable<T, W: FnOnce() + Send + 'static>(
    undo: &mut Vec<Undo>,
    make: impl FnOnce() -> Option<(T, W)>,
) -> Option<T> {
    let (thing, one) = Undo::of(|| make().ok_or(())).ok()?;
    undo.push(one);
    Some(thing)
}

fn shards_of(i: usize) -> String {
    format!("--shards={}", 1 + i % 2)
}

/// The cluster and what can be done to it. Members end before their disks and networks go.
pub struct Rig {
    pub cluster: Cluster,
    pub network: Option<Network>,
    disks: Vec<SmallDisk>,
    folder: PathBuf,
    /// Of networks and disks; go after them.
    _undo: Vec<Undo>,
}

impl Rig {
    /// Starts the members, with their logs in `folder`.
    ///
    /// # Errors
    /// If they do not serve in time.
    pub fn start(folder: &Path) -> Result<Self> {
        let mut undo = Vec::new();
        let network = undoable(&mut undo, || {
            let network = Network::make(MEMBERS)?;
            let remover = network.remover();
            Some((network, remover))
        });
        let mut disk = |_| {
            undoable(&mut undo, || {
                let disk = SmallDisk::make(DISK_BYTES)?;
                let remover = disk.remover();
                Some((disk, remover))
            })
        };
        let disks: Option<Vec<SmallDisk>> = (0..MEMBERS).map(&mut disk).collect();
        Self::on(folder, network, disks.unwrap_or_default(), undo)
    }

    /// The same on this machine's own network and disk, for what needs no faults of theirs.
    ///
    /// # Errors
    /// If they do not serve in time.
    pub fn plain(folder: &Path) -> Result<Self> {
        Self::on(folder, None, Vec::new(), Vec::new())
    }

    fn on(folder: &Path, network: Option<Network>, disks: Vec<SmallDisk>, undo: Vec<Undo>) -> Result<Self> {
        let seats = match &network {
            Some(network) => network.seats(),
            None => (1..=MEMBERS).map(|i| Seat::on_loopback(&format!("m{i}"))).collect(),
        };
        let cluster = Cluster::in_folder(Scratch::kept(folder), seats, FLAGS);
        let mut rig = Self { cluster, network, disks, folder: folder.to_owned(), _undo: undo };
        let all: Vec<usize> = (0..MEMBERS).collect();
        let named = format!("--initial-cluster={}", rig.cluster.initial_cluster(&all));
        for i in all {
            rig.cluster.set_flags(i, &[&named]);
            rig.add_own_flags(i);
            rig.cluster.spawn(i);
        }
        rig.wait_until_well()?;
        Ok(rig)
    }

    /// Where its disk is, and that members have different numbers of shards.
    fn add_own_flags(&mut self, i: usize) {
        let data = format!("--data-dir={}", self.data_folder(i).display());
        self.cluster.add_flags(i, &[&data, &shards_of(i)]);
    }

    /// The flags of a member that decide what its files look like.
    pub fn storage_flags(&self, i: usize) -> [String; 2] {
        [FLAGS[0].to_owned(), shards_of(i)]
    }

    /// A member's data.
    pub fn data_folder(&self, i: usize) -> PathBuf {
        self.disks.get(i).map_or_else(|| self.cluster.data_folder(i), SmallDisk::data_folder)
    }

    /// The small disk of a member, if it has one.
    pub fn disk(&self, i: usize) -> Option<&SmallDisk> {
        self.disks.get(i)
    }

    /// A slow disk for one member; an error where that cannot be had.
    pub fn throttle(&self, i: usize, write_iops: u64) -> Result<Throttle> {
        let throttle = Throttle::new(&self.disks[i].data_folder(), write_iops)?;
        throttle.add(self.cluster.member(i).pid().as_raw_nonzero().get().cast_unsigned())?;
        Ok(throttle)
    }

    /// Where clients reach the members.
    pub fn endpoints(&self) -> Vec<String> {
        (0..MEMBERS).map(|i| self.cluster.endpoint(i)).collect()
    }

    /// Waits until all members run and answer linearizable reads; one that had no room when it started is started again.
    ///
    /// # Errors
    /// If one has ended for another reason, or does not answer in time.
    pub fn wait_until_well(&mut self) -> Result<()> {
        let deadline = Instant::now() + WELL_WITHIN;
        for i in 0..MEMBERS {
            while !self.is_well(i) {
                if let Some(status) = self.cluster.has_ended(i) {
                    ensure!(
                        status.code() == Some(NO_ROOM),
                        "m{} ended with {status}:\n{}",
                        i + 1,
                        self.end_of_log(i)
                    );
                    drop(self.cluster.take(i));
                    self.cluster.spawn(i);
                }
                ensure!(
                    Instant::now() < deadline,
                    "m{} does not serve {} s after the last fault:\n{}",
                    i + 1,
                    WELL_WITHIN.as_secs(),
                    self.end_of_log(i)
                );
                std::thread::sleep(LOOK);
            }
        }
        Ok(())
    }

    fn is_well(&self, i: usize) -> bool {
        self.cluster.is_running(i) && self.revision_at(i).is_ok()
    }

    /// The revision of a linearizable read at this member.
    ///
    /// # Errors
    /// If it does not answer soon.
    pub fn revision_at(&self, i: usize) -> Result<i64> {
        let request = RangeRequest { key: "none".into(), ..RangeRequest::default() };
        let response = self.cluster.member(i).client_within(ASK).range(&request)?;
        Ok(revision_of(response.header)?)
    }

    /// A client of a member that runs.
    pub fn client(&self, i: usize) -> Client {
        client_of(&self.cluster.endpoint(i))
    }

    /// Starts a member whose files may be damaged.
    ///
    /// # Errors
    /// If it neither serves nor ends in time.
    pub fn start_damaged(&mut self, i: usize) -> Result<Start> {
        let before = self.log(i).len();
        self.cluster.spawn(i);
        let deadline = Instant::now() + WELL_WITHIN;
        loop {
            let said = self.log(i).get(before..).unwrap_or_default().to_owned();
            if let Some(status) = self.cluster.has_ended(i) {
                drop(self.cluster.take(i));
                let code =
                    status.code().with_context(|| format!("m{} ended with {status}:\n{said}", i + 1))?;
                return Ok(Start::Refused(
                    code,
                    said.trim_end().lines().last().unwrap_or_default().to_owned(),
                ));
            }
            if self.is_well(i) {
                return Ok(if said.contains(REPAIRING) { Start::Repaired } else { Start::Sound });
            }
            if Instant::now() > deadline {
                bail!("m{} neither serves nor ends after its files were damaged:\n{said}", i + 1);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Removes a member that does not run from the cluster, and adds it anew with an empty disk.
    ///
    /// # Errors
    /// If the others do not do it in time.
    pub fn replace(&mut self, i: usize) -> Result<()> {
        let other = (i + 1) % MEMBERS;
        let mut client = self.client(other);
        let name = self.cluster.seat(i).name.clone();
        self.retry("the member to be removed", || {
            let members = client.member_list(&MemberListRequest { linearizable: true })?.members;
            match members.iter().find(|member| member.name == name) {
                Some(member) => client.member_remove(&MemberRemoveRequest { id: member.id }).map(|_| ()),
                None => Ok(()),
            }
        })?;
        fs::remove_dir_all(self.data_folder(i))?;
        let peer_ur_ls = vec![self.cluster.seat(i).peer_url()];
        self.retry("the member to be added", || {
            let members = client.member_list(&MemberListRequest { linearizable: true })?.members;
            if members.iter().any(|member| member.peer_ur_ls == peer_ur_ls) {
                return Ok(());
            }
            let request = MemberAddRequest { peer_ur_ls: peer_ur_ls.clone(), is_learner: false };
            client.member_add(&request).map(|_| ())
        })?;
        let others: Vec<usize> = (0..MEMBERS).filter(|&other| other != i).collect();
        self.cluster.set_joining(i, &others);
        self.add_own_flags(i);
        self.cluster.spawn(i);
        self.wait_until_well()
    }

    /// Right after a fault its members have not been connected for long enough, or there is no leader.
    fn retry(&self, what: &str, mut step: impl FnMut() -> Result<(), windlass_client::Error>) -> Result<()> {
        let deadline = Instant::now() + WELL_WITHIN;
        loop {
            match step() {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => bail!("waited in vain for {what}: {error}"),
                Err(_) => std::thread::sleep(LOOK),
            }
        }
    }

    /// Asks the leader to let another one lead. Nobody promises that it works under faults.
    pub fn move_leader(&self, to: usize) {
        if let (Some(leader), Some(status)) = (self.cluster.leader(), self.cluster.status(to)) {
            let target_id = status.header.map_or(0, |header| header.member_id);
            let _ = self
                .cluster
                .member(leader)
                .client_within(CALL_TIMEOUT)
                .move_leader(&MoveLeaderRequest { target_id });
        }
    }

    fn log(&self, i: usize) -> String {
        let path = self.folder.join(&self.cluster.seat(i).name).join("log.txt");
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    }

    fn end_of_log(&self, i: usize) -> String {
        let log = self.log(i);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}
