//! A member with users, and connections of theirs.

use std::time::Instant;

use prost::Message;
use windlass_api::etcdserverpb as pb;
use windlass_api::method::{auth, kv, lease};
use windlass_client::{Code, Connection, Error};

use crate::process::{Launch, Member, REQUEST_TIMEOUT, START_TIMEOUT, Scratch};

/// How the server refused something.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    pub text: String,
}

/// Bytes that are a message already, or are taken for one.
#[derive(Clone, PartialEq, Default)]
struct Raw(Vec<u8>);

/// One connection of one user.
pub struct Session {
    connection: Connection,
    token: String,
}

impl Session {
    /// Sends this token from now on.
    pub fn use_token(&mut self, token: &str) {
        self.connection.set_token(token);
        token.clone_into(&mut self.token);
    }

    /// The token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// One unary call.
    pub fn call<M: Message + Default>(&mut self, method: &str, request: &impl Message) -> Result<M, Refusal> {
        let call = self.connection.begin(method, request, REQUEST_TIMEOUT).map_err(refusal)?;
        self.connection.finish(call, Instant::now() + REQUEST_TIMEOUT).map_err(refusal)
    }

    /// One unary call with a request that is encoded already; of the answer only whether there is one.
    pub fn raw(&mut self, method: &str, request: &[u8]) -> Result<(), Refusal> {
        self.call::<()>(method, &Raw(request.to_vec()))
    }

    /// The first message of the answer to a streaming call.
    pub fn stream<M: Message + Default>(
        &mut self,
        method: &str,
        request: &impl Message,
    ) -> Result<M, Refusal> {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let call = self.connection.begin_stream(method, request, deadline).map_err(refusal)?;
        let first = self.connection.next(&call, deadline).map_err(refusal);
        self.connection.end(call);
        first.map(|message| message.expect("the stream does not end without a word"))
    }
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::Status { code, message } => Refusal { code, text: message },
        error => panic!("no answer of the server: {error}"),
    }
}

/// A member with root, and with alice who may write `allowed` and `writeonly` and read the first.
pub struct World {
    member: Option<Member>,
    folder: Scratch,
    flags: Vec<String>,
    /// A lease of a key that alice may not touch.
    pub denied_lease: i64,
}

impl World {
    /// Authentication is in force.
    pub fn in_force(flags: &[&str]) -> Self {
        let folder = Scratch::new();
        let flags: Vec<String> =
            flags.iter().map(|&flag| flag.to_owned()).chain(["--bcrypt-cost=4".to_owned()]).collect();
        let member = Some(Launch::new(folder.path()).flags(&flags).member());
        let mut world = Self { member, folder, flags, denied_lease: 0 };
        let mut session = world.session();
        let mut ask = |method: &str, request: Vec<u8>| session.raw(method, &request).expect(method);
        for (name, role) in [("root", "root"), ("alice", "r")] {
            let add = pb::AuthUserAddRequest {
                name: name.into(),
                password: format!("{name}pw"),
                ..Default::default()
            };
            ask(auth::USER_ADD, add.encode_to_vec());
            ask(auth::ROLE_ADD, pb::AuthRoleAddRequest { name: role.into() }.encode_to_vec());
            let grant = pb::AuthUserGrantRoleRequest { user: name.into(), role: role.into() };
            ask(auth::USER_GRANT_ROLE, grant.encode_to_vec());
        }
        for perm in crate::permissions() {
            let grant = pb::AuthRoleGrantPermissionRequest { name: "r".into(), perm: Some(perm) };
            ask(auth::ROLE_GRANT_PERMISSION, grant.encode_to_vec());
        }
        let granted: pb::LeaseGrantResponse =
            session.call(lease::LEASE_GRANT, &pb::LeaseGrantRequest { ttl: 3600, id: 0 }).expect("granted");
        world.denied_lease = granted.id;
        for key in ["denied", "writeonly"] {
            let lease = if key == "denied" { granted.id } else { 0 };
            let put = pb::PutRequest { key: key.into(), value: "before".into(), lease, ..Default::default() };
            let _: pb::PutResponse = session.call(kv::PUT, &put).expect("nobody need say who they are yet");
        }
        session.raw(auth::AUTH_ENABLE, &[]).expect("root is there");
        world
    }

    /// The member.
    pub fn member(&self) -> &Member {
        self.member.as_ref().expect("it runs")
    }

    /// Stops the member and starts it again.
    pub fn restart(&mut self) {
        self.member.take().expect("it runs").stop_gracefully();
        self.member = Some(Launch::new(self.folder.path()).flags(&self.flags).spawn());
        let deadline = Instant::now() + START_TIMEOUT;
        // It refuses those who do not say who they are, so its readiness is asked for otherwise.
        while std::net::TcpStream::connect(self.member().endpoint()).is_err() {
            assert!(Instant::now() < deadline, "the member does not come back");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// A connection of nobody.
    pub fn session(&self) -> Session {
        Session { connection: self.member().connect(), token: String::new() }
    }

    /// A connection of somebody.
    pub fn log_in(&self, name: &str, password: &str) -> Session {
        self.try_log_in(name, password).expect("the password is right")
    }

    /// A connection of somebody, if the password is right.
    pub fn try_log_in(&self, name: &str, password: &str) -> Result<Session, Refusal> {
        let mut session = self.session();
        let login = pb::AuthenticateRequest { name: name.into(), password: password.into() };
        let answer: pb::AuthenticateResponse = session.call(auth::AUTHENTICATE, &login)?;
        session.use_token(&answer.token);
        Ok(session)
    }
}

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Message for Raw {
    fn encode_raw(&self, out: &mut impl prost::bytes::BufMut) {
        out.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        _: u32,
        _: prost::encoding::WireType,
        _: &mut impl prost::bytes::Buf,
        _: prost::encoding::DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}
