//! One of the two that are asked the same: a server process or the model.

use windlass_client::{Connection, Error};

use crate::model::Model;
use crate::request::{Answer, Pending, Request};
use crate::server::Server;

/// How much of a line of a request or an answer is shown, in characters.
const LINE_CHARS_MAX: usize = 160;

/// Who is asked.
pub enum Side<'a> {
    /// A real etcd.
    Etcd(&'a Server, Connection),
    /// A Windlass.
    Windlass(&'a Server, Connection),
    /// The model.
    Model(Model),
}

/// Requests that were sent, or answered at once.
pub enum Asked {
    /// Sent.
    Pending(Vec<Pending>),
    /// Answered.
    Answered(Vec<Answer>),
}

impl<'a> Side<'a> {
    /// A connection to a real etcd.
    pub fn etcd(server: &'a Server) -> Self {
        Self::Etcd(server, server.connect())
    }

    /// A connection to a Windlass.
    pub fn windlass(server: &'a Server) -> Self {
        Self::Windlass(server, server.connect())
    }

    /// Whether it answers as versions after 3.5.1 do.
    pub fn is_newer(&self) -> bool {
        !matches!(self, Self::Etcd(..))
    }

    /// Sends all requests before any answer is awaited.
    pub fn ask(&mut self, requests: &[Request]) -> Asked {
        let has_range_stream = self.is_newer();
        let (server, connection) = match self {
            Self::Model(model) => {
                return Asked::Answered(requests.iter().map(|request| model.answer(request)).collect());
            }
            Self::Etcd(server, connection) | Self::Windlass(server, connection) => (server, connection),
        };
        let send = |request: &Request| {
            let sent = request.send(connection, has_range_stream);
            sent.unwrap_or_else(|error| panic!("{}", failure(request, &error, server)))
        };
        Asked::Pending(requests.iter().map(send).collect())
    }

    /// Waits for the answers to `requests`, which were asked.
    pub fn answers(&mut self, requests: &[Request], asked: Asked) -> Vec<Answer> {
        let pending = match asked {
            Asked::Answered(answers) => return answers,
            Asked::Pending(pending) => pending,
        };
        let (Self::Etcd(server, connection) | Self::Windlass(server, connection)) = self else {
            unreachable!("the model answers at once");
        };
        let answer = |(pending, request): (Pending, &Request)| {
            let answer = pending.answer(connection);
            answer.unwrap_or_else(|error| panic!("{}", failure(request, &error, server)))
        };
        pending.into_iter().zip(requests).map(answer).collect()
    }
}

/// What a person needs to know when a server gave no answer.
fn failure(request: &Request, error: &Error, server: &Server) -> String {
    let (request, log) = (shorten(&format!("{request:#?}")), server.log());
    format!("no answer to {request}{error}\nlog of {}: {log}", server.name())
}

/// Cuts long lines, which are values, to what a person can read.
pub fn shorten(text: &str) -> String {
    let line = |line: &str| match line.char_indices().nth(LINE_CHARS_MAX) {
        Some((end, _)) => format!("{}... ({} bytes)\n", &line[..end], line.len()),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}
