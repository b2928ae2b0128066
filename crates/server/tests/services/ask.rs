//! One request to each of two servers, and answers that can be compared.

use std::fmt::Debug;
use std::path::Path;
use std::time::Instant;

use prost::Message;
use windlass_api::etcdserverpb::{self as pb, ResponseHeader};
use windlass_api::{v3electionpb, v3lockpb};
use windlass_client::{Connection, Error};

use crate::process::{Launch, Member, REQUEST_TIMEOUT, Scratch, etcd_folder};

/// Both servers are told to be reached here, where nobody is: their ids come from it and are the same.
const ADVERTISED: &[&str] = &[
    "--advertise-client-urls=http://127.0.0.1:1",
    "--initial-advertise-peer-urls=http://127.0.0.1:2",
    "--initial-cluster=default=http://127.0.0.1:2",
];

/// A response with etcd's header.
pub trait Reply: Message + Default + Debug {
    /// The header.
    fn header(&mut self) -> &mut Option<ResponseHeader>;
}

macro_rules! replies {
    ($($name:ty),* $(,)?) => {
        $(impl Reply for $name {
            fn header(&mut self) -> &mut Option<ResponseHeader> {
                &mut self.header
            }
        })*
    };
}

replies!(
    pb::RangeResponse,
    pb::PutResponse,
    pb::DeleteRangeResponse,
    pb::TxnResponse,
    pb::CompactionResponse,
    pb::LeaseGrantResponse,
    pb::LeaseRevokeResponse,
    pb::LeaseKeepAliveResponse,
    pb::LeaseTimeToLiveResponse,
    pb::LeaseLeasesResponse,
    pb::MemberAddResponse,
    pb::MemberRemoveResponse,
    pb::MemberUpdateResponse,
    pb::MemberListResponse,
    pb::MemberPromoteResponse,
    pb::AlarmResponse,
    pb::StatusResponse,
    pb::DefragmentResponse,
    pb::HashResponse,
    pb::HashKvResponse,
    pb::MoveLeaderResponse,
    pb::DowngradeResponse,
    pb::AuthEnableResponse,
    pb::AuthDisableResponse,
    pb::AuthStatusResponse,
    pb::AuthenticateResponse,
    pb::AuthUserAddResponse,
    pb::AuthUserGetResponse,
    pb::AuthUserListResponse,
    pb::AuthUserDeleteResponse,
    pb::AuthUserChangePasswordResponse,
    pb::AuthUserGrantRoleResponse,
    pb::AuthUserRevokeRoleResponse,
    pb::AuthRoleAddResponse,
    pb::AuthRoleGetResponse,
    pb::AuthRoleListResponse,
    pb::AuthRoleDeleteResponse,
    pb::AuthRoleGrantPermissionResponse,
    pb::AuthRoleRevokePermissionResponse,
    v3lockpb::LockResponse,
    v3lockpb::UnlockResponse,
    v3electionpb::CampaignResponse,
    v3electionpb::LeaderResponse,
    v3electionpb::ProclaimResponse,
    v3electionpb::ResignResponse,
);

/// One unary call. The term counts elections, which are a matter of chance: only its presence is kept.
pub fn ask<R: Reply>(connection: &mut Connection, method: &str, request: &impl Message) -> Result<R, String> {
    let call = connection.begin(method, request, REQUEST_TIMEOUT).expect("the server takes it");
    let answer = connection.finish::<R>(call, Instant::now() + REQUEST_TIMEOUT);
    answer.map(plain).map_err(refusal)
}

/// A response without what is a matter of chance.
pub fn plain<R: Reply>(mut response: R) -> R {
    if let Some(header) = response.header() {
        header.raft_term = header.raft_term.min(1);
    }
    response
}

/// The code and the text of a refusal.
pub fn refusal(error: Error) -> String {
    match error {
        Error::Status { code, message } => format!("{code:?}: {message}"),
        other => panic!("no answer: {other:?}"),
    }
}

/// A member alone, with its folder.
pub struct Server {
    /// The process.
    pub member: Member,
    _folder: Scratch,
}

/// A real etcd and a Windlass with equal ids, if there is a real etcd.
pub fn both(flags: &[&str]) -> Option<[Server; 2]> {
    let etcd = etcd_folder()?.join("etcd");
    let start = |program: &Path| {
        let folder = Scratch::new();
        let launch = Launch::new(folder.path()).program(program);
        let launch = ADVERTISED.iter().chain(flags).fold(launch, |launch, flag| launch.flag(*flag));
        Server { member: launch.member(), _folder: folder }
    };
    Some([start(&etcd), start(Path::new(env!("CARGO_BIN_EXE_windlass")))])
}

/// The number in a variable of the environment.
pub fn from_env<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// How long a run is, and which one.
pub fn plan(steps: usize) -> (u64, usize) {
    let seed = from_env("WINDLASS_SERVICES_SEED").unwrap_or(1);
    (seed, from_env("WINDLASS_SERVICES_STEPS").unwrap_or(steps))
}

/// Fails with what differs and how to see it again.
pub fn differ(step: usize, what: &dyn Debug, wanted: &str, got: &str) -> ! {
    let (seed, _) = plan(0);
    panic!(
        "step {step}, {what:#?}:\netcd:     {wanted}\nwindlass: {got}\n\
         repeat it with WINDLASS_SERVICES_SEED={seed} WINDLASS_SERVICES_STEPS={}",
        step + 1
    )
}
