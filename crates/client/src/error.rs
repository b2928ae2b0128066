//! Why a request has no answer, in the words of etcd's own client.

use windlass_types::Code;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused it.
    #[error("{}", status_text(*.code, .message))]
    Status {
        /// The gRPC code.
        code: Code,
        /// The server's text.
        message: String,
    },
    /// The time is over. `cause` is the last thing that went wrong on the way, such as a refused connection.
    #[error("context deadline exceeded")]
    DeadlineExceeded {
        /// For people.
        cause: Option<String>,
    },
    /// The connection broke while the request was under way: nobody knows whether it took effect.
    #[error("connection to {endpoint} lost: {why}")]
    Disconnected {
        /// The server.
        endpoint: String,
        /// For people.
        why: String,
    },
    /// The connection takes no further request; this one was not sent.
    #[error("the server takes no more requests on this connection: {why}")]
    NotSent {
        /// For people.
        why: String,
    },
    /// The list of endpoints is empty.
    #[error("etcdclient: no available endpoints")]
    NoEndpoints,
    /// An endpoint cannot be read or is not supported.
    #[error("bad endpoint {endpoint:?}: {why}")]
    BadEndpoint {
        /// As it was given.
        endpoint: String,
        /// For people.
        why: &'static str,
    },
    /// Connections cannot be protected as asked.
    #[error("{0}")]
    Tls(String),
    /// The user's name or password is not accepted, or nobody could be asked.
    #[error("{0}")]
    Login(Box<Self>),
    /// The answer is not what the method returns.
    #[error("malformed answer: {0}")]
    Malformed(String),
}

impl Error {
    /// The gRPC code, if the server answered with one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Status { code, .. } => Some(*code),
            Self::Login(error) => error.code(),
            _ => None,
        }
    }
    /// Whether the server does not take the token that was sent, and did nothing: with a new one it may.
    #[must_use]
    pub fn is_stale_token(&self) -> bool {
        const TEXTS: [&str; 2] =
            ["etcdserver: invalid auth token", "etcdserver: revision of auth store is old"];
        matches!(self, Self::Status { message, .. } if TEXTS.contains(&message.as_str()))
    }

    /// Whether the server has no leader, and was asked to say so rather than to wait for one.
    #[must_use]
    pub fn is_no_leader(&self) -> bool {
        matches!(self, Self::Status { message, .. } if message == "etcdserver: no leader")
    }
}

/// etcd's Go client shows its server's errors by their text alone, others with their code.
fn status_text(code: Code, message: &str) -> String {
    if code == Code::DeadlineExceeded {
        "context deadline exceeded".to_owned()
    } else if message.starts_with("etcdserver: ") {
        message.to_owned()
    } else {
        format!("rpc error: code = {code:?} desc = {message}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_etcds_client() {
        let text = |code, message: &str| Error::Status { code, message: message.into() }.to_string();
        assert_eq!(
            text(Code::InvalidArgument, "etcdserver: key is not provided"),
            "etcdserver: key is not provided"
        );
        assert_eq!(text(Code::Unimplemented, "no"), "rpc error: code = Unimplemented desc = no");
        assert_eq!(text(Code::DeadlineExceeded, "any"), "context deadline exceeded");
    }
}
