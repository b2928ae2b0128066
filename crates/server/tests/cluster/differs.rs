//! A member whose state is another than that of the others, with checksums that all hold: it is named, raises `CORRUPT` and
//! stops serving while the others go on, and the documented remedies bring it back.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use windlass_api::etcdserverpb::alarm_request::AlarmAction;
use windlass_api::etcdserverpb::{
    AlarmRequest, AlarmResponse, AlarmType, HashKvRequest, MoveLeaderRequest, PutRequest, RangeRequest,
    StatusRequest, WatchCreateRequest, WatchRequest, WatchResponse, watch_request,
};
use windlass_api::method;
use windlass_client::{Call, Client, Connection, Error, Security, fetch};
use windlass_io_log::buffer::BLOCK_BYTES;
use windlass_io_log::frame::{self, Header};
use windlass_io_log::segment::FIRST_FRAME_AT;

use crate::cluster::{Cluster, PATIENCE, until};
use crate::etcdctl::Etcdctl;
use crate::load::{Load, client_of};
use crate::state::{check, check_equal};

const KEY: &str = "differs";

/// Nothing else in the files looks like it.
const RIGHT: &str = "the value that all members acknowledged";
const WRONG: &str = "the value that one of them has instead.";

/// Writes of others before and after.
const WRITES: u64 = 60;

/// How a member answers that differs.
const REFUSED: &str = "etcdserver: corrupt cluster";

fn get(client: &mut Client, serializable: bool) -> Result<String, Error> {
    let request = RangeRequest { key: KEY.into(), serializable, ..RangeRequest::default() };
    let kvs = client.range(&request)?.kvs;
    Ok(String::from_utf8_lossy(&kvs.first().expect("the key is there").value).into_owned())
}

fn put(client: &mut Client, value: &str) -> Result<(), Error> {
    let request =
        PutRequest { key: KEY.into(), value: value.as_bytes().to_vec().into(), ..PutRequest::default() };
    client.put(&request).map(|_| ())
}

/// Replaces the value wherever a member's shards hold it, and completes the frames anew: no checksum tells.
fn alter(data_folder: &Path) {
    let mut altered = 0;
    let generations = fs::read_dir(data_folder.join("shards")).expect("it has shards");
    for generation in generations.map(|entry| entry.expect("is read").path()).filter(|path| path.is_dir()) {
        for segment in fs::read_dir(generation.join("0")).expect("it has a shard") {
            let path = segment.expect("is read").path();
            let mut bytes = fs::read(&path).expect("is read");
            let here = alter_frames(&mut bytes);
            if here > 0 {
                fs::write(&path, &bytes).expect("is written");
            }
            altered += here;
        }
    }
    assert!(altered > 0, "the value was on the disk");
}

fn alter_frames(segment: &mut [u8]) -> usize {
    let (mut at, mut altered) = (FIRST_FRAME_AT, 0);
    while at < segment.len() {
        let Ok(header) = Header::read(&segment[at..]) else {
            at += BLOCK_BYTES;
            continue;
        };
        let (from, to) = (at + frame::HEADER_BYTES, at + frame::HEADER_BYTES + header.body_bytes());
        let body = &mut segment[from..to];
        while let Some(place) = body.windows(RIGHT.len()).position(|window| window == RIGHT.as_bytes()) {
            body[place..place + RIGHT.len()].copy_from_slice(WRONG.as_bytes());
            altered += 1;
        }
        frame::seal(&mut segment[at..], &header.stamp, header.body_bytes());
        at += header.frame_bytes();
    }
    altered
}

/// Stops a member, gives it another value, and starts it again.
fn let_differ(cluster: &mut Cluster, victim: usize) {
    let member = cluster.take(victim);
    member.terminate();
    let log = member.ended().output;
    assert!(log.contains("stopped"), "{log}");
    alter(&cluster.data_folder(victim));
    cluster.restart(victim);
}

fn alarms(cluster: &Cluster, via: usize) -> Option<AlarmResponse> {
    client_of(&cluster.endpoint(via)).alarm(&AlarmRequest::default()).ok()
}

fn wait_for_alarm(cluster: &Cluster, via: usize, id: u64) {
    let begun = Instant::now();
    until("the alarm", || {
        let raised = alarms(cluster, via)?.alarms;
        raised.iter().any(|a| (a.member_id, a.alarm) == (id, AlarmType::Corrupt as i32)).then_some(())
    });
    eprintln!("a member that differs was named {:.1} s after it served again", begun.elapsed().as_secs_f64());
}

/// A page of a member; its body, or what the failure says.
fn page(cluster: &Cluster, i: usize, path: &str) -> Result<String, String> {
    let endpoint = format!("http://{}", cluster.endpoint(i));
    fetch(&endpoint, &Security::default(), path, Duration::from_secs(10)).map_err(|error| error.to_string())
}

/// It refuses what rests on its state, and answers what helps to find out.
fn serves_no_more(cluster: &Cluster, victim: usize) {
    let mut client = client_of(&cluster.endpoint(victim));
    until("it to refuse", || get(&mut client, true).err().filter(|error| error.to_string() == REFUSED));
    assert_eq!(get(&mut client, false).expect_err("a read").to_string(), REFUSED);
    assert_eq!(put(&mut client, "from it").expect_err("a write").to_string(), REFUSED);
    assert!(page(cluster, victim, "/readyz").is_err() && page(cluster, victim, "/health").is_err());
    let status = client.status(&StatusRequest {}).expect("it says how it is");
    assert!(status.errors.iter().any(|error| error.contains("alarm:CORRUPT")), "{:?}", status.errors);
    client.hash_kv(&HashKvRequest { revision: 0 }).expect("it can be compared");
}

fn others_serve(cluster: &Cluster, others: &[usize]) {
    for &i in others {
        let mut client = client_of(&cluster.endpoint(i));
        assert_eq!(get(&mut client, false).expect("a read"), RIGHT);
        assert_eq!(get(&mut client, true).expect("a local read"), RIGHT);
        page(cluster, i, "/readyz").expect("it is ready");
        page(cluster, i, "/health").expect("it is healthy");
    }
}

#[test]
fn a_follower_that_differs_is_named_stops_and_is_replaced() {
    let mut cluster = Cluster::start(3, &[]);
    let victim = cluster.follower();
    let others: Vec<usize> = (0..3).filter(|&i| i != victim).collect();
    let Some(ctl) = Etcdctl::of(&cluster, &others) else { return };
    let load = Load::of(&cluster, &others, 2, Duration::from_millis(4));
    put(&mut client_of(&cluster.endpoint(victim)), RIGHT).expect("a write");
    load.wait_for_writes(WRITES);
    let id = cluster.id(victim);
    let_differ(&mut cluster, victim);
    // Its own clients are lied to until the next comparison.
    if let Ok(read) = get(&mut client_of(&cluster.endpoint(victim)), true) {
        assert_eq!(read, WRONG);
    }
    let mut watch = Watched::begin(&cluster, victim);
    wait_for_alarm(&cluster, others[0], id);
    assert_eq!(ctl.ok(&["alarm", "list"]).trim(), format!("memberID:{id} alarm:CORRUPT"));
    serves_no_more(&cluster, victim);
    assert_eq!(watch.end(), REFUSED);
    load.wait_for_writes(WRITES);
    others_serve(&cluster, &others);
    replace(&mut cluster, &ctl, victim, &others);
    load.wait_for_writes(WRITES);
    assert_eq!(get(&mut client_of(&cluster.endpoint(victim)), true).expect("a local read"), RIGHT);
    check(&cluster, &load.finish());
}

/// What the page on alarms tells to do.
fn replace(cluster: &mut Cluster, ctl: &Etcdctl, victim: usize, others: &[usize]) {
    let id = format!("{:x}", cluster.id(victim));
    ctl.change(&["member", "remove", &id]);
    assert_eq!(cluster.take(victim).ended().code(), 0);
    fs::remove_dir_all(cluster.data_folder(victim)).expect("its folder is removed");
    let (name, urls) = (cluster.seat(victim).name.clone(), cluster.seat(victim).peer_url());
    ctl.change(&["member", "add", &name, &format!("--peer-urls={urls}")]);
    cluster.set_joining(victim, others);
    cluster.restart(victim);
    ctl.ok(&["alarm", "disarm"]);
    assert_eq!(ctl.ok(&["alarm", "list"]).trim(), "");
}

/// One that leads gives leadership away, and is repaired in place: its log is sound, so that the others may send their state.
#[test]
fn a_leader_that_differs_hands_over_and_is_repaired() {
    let mut cluster = Cluster::start(3, &[]);
    let victim = cluster.wait_for_leader();
    let others: Vec<usize> = (0..3).filter(|&i| i != victim).collect();
    put(&mut client_of(&cluster.endpoint(victim)), RIGHT).expect("a write");
    let id = cluster.id(victim);
    let_differ(&mut cluster, victim);
    let leads = |cluster: &Cluster| cluster.leader() == Some(victim);
    until("it to lead, or to be named", || {
        move_leader(&cluster, id);
        (leads(&cluster) || alarms(&cluster, others[0]).is_some_and(|a| !a.alarms.is_empty())).then_some(())
    });
    wait_for_alarm(&cluster, others[0], id);
    until("another leader", || cluster.leader().filter(|&leader| leader != victim));
    serves_no_more(&cluster, victim);
    put(&mut client_of(&cluster.endpoint(others[0])), RIGHT).expect("the others take writes");
    others_serve(&cluster, &others);
    cluster.kill(victim);
    fs::remove_dir_all(cluster.data_folder(victim).join("shards")).expect("its shards are removed");
    cluster.spawn(victim);
    until("it to be repaired", || cluster.status(victim));
    client_of(&cluster.endpoint(others[0])).alarm(&disarm(id)).expect("the alarm is lifted");
    cluster.wait_until_ready(victim);
    assert_eq!(get(&mut client_of(&cluster.endpoint(victim)), true).expect("a local read"), RIGHT);
    check_equal(&cluster);
}

fn disarm(id: u64) -> AlarmRequest {
    AlarmRequest { action: AlarmAction::Deactivate as i32, member_id: id, alarm: AlarmType::Corrupt as i32 }
}

/// Asks whoever leads; a refusal is no matter here.
fn move_leader(cluster: &Cluster, id: u64) {
    if let Some(leader) = cluster.leader() {
        let _ = client_of(&cluster.endpoint(leader)).move_leader(&MoveLeaderRequest { target_id: id });
    }
}

/// A watch that was open before.
struct Watched {
    connection: Connection,
    call: Call,
}

impl Watched {
    fn begin(cluster: &Cluster, i: usize) -> Self {
        let mut connection = cluster.member(i).connect();
        let create = WatchCreateRequest { key: KEY.into(), ..WatchCreateRequest::default() };
        let request =
            WatchRequest { request_union: Some(watch_request::RequestUnion::CreateRequest(create)) };
        let call = connection
            .begin_stream(method::watch::WATCH, &request, Instant::now() + PATIENCE)
            .expect("it is taken");
        Self { connection, call }
    }

    /// What it was ended with.
    fn end(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.connection.next::<WatchResponse>(&self.call, deadline) {
                Ok(Some(_)) => {}
                Ok(None) => return "nothing".to_owned(),
                Err(error) => return error.to_string(),
            }
        }
    }
}
