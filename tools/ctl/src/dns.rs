//! The one question that std's resolver cannot ask: which hosts offer a service (SRV records).
//!
//! Source: RFC 1035, 4; RFC 2782. The messages are pure and may be any bytes; [`services`] asks the servers that
//! `/etc/resolv.conf` names.

use std::fs;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// How long one server may take; then the next is asked.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
/// The largest answer over UDP to a question without extensions; what is larger is asked for again over TCP.
const UDP_BYTES_MAX: usize = 512;
const TYPE_SRV: u16 = 33;
const CLASS_IN: u16 = 1;
/// Names point to parts of other names; a longer chain than this is a loop.
const POINTERS_MAX: usize = 16;

/// A host that offers a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Lowest first.
    priority: u16,
    /// Where it listens.
    pub port: u16,
    /// Its name.
    pub host: String,
}

#[cfg(test)]
impl Service {
    pub fn new(host: &str, port: u16) -> Self {
        Self { priority: 0, port, host: host.to_owned() }
    }
}

/// Who offers `_<service>._tcp.<domain>`.
///
/// # Errors
/// No server answers, or the name has no such records.
pub fn services(service: &str, domain: &str) -> Result<Vec<Service>> {
    let name = format!("_{service}._tcp.{}", domain.trim_end_matches('.'));
    let question = question(&name).ok_or_else(|| Error::new(ErrorKind::InvalidInput, "is no domain name"))?;
    let mut last = Error::other("no name server is known");
    for server in servers() {
        let answer = ask(server, &question);
        match answer.and_then(|answer| records(&answer).ok_or_else(|| Error::other("unreadable answer"))) {
            Ok(found) if found.is_empty() => {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format!("lookup {name} on {server}: no such host"),
                ));
            }
            Ok(mut found) => {
                found.sort_by_key(|service| service.priority);
                return Ok(found);
            }
            Err(error) => last = Error::new(error.kind(), format!("lookup {name} on {server}: {error}")),
        }
    }
    Err(last)
}

fn servers() -> Vec<SocketAddr> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let addresses = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    addresses.filter_map(|text| Some(SocketAddr::new(text.trim().parse::<IpAddr>().ok()?, 53))).collect()
}

fn ask(server: SocketAddr, question: &[u8]) -> Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    socket.send(question)?;
    let mut answer = vec![0; UDP_BYTES_MAX];
    loop {
        let len = socket.recv(&mut answer)?;
        // The first two bytes are the question's number.
        if answer[..len].get(..2) == question.get(..2) {
            answer.truncate(len);
            break;
        }
    }
    let is_truncated = answer.get(2).is_some_and(|flags| flags & 2 != 0);
    if is_truncated { ask_by_tcp(server, question) } else { Ok(answer) }
}

fn ask_by_tcp(server: SocketAddr, question: &[u8]) -> Result<Vec<u8>> {
    let mut socket = TcpStream::connect_timeout(&server, ANSWER_TIME_MAX)?;
    socket.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    socket.write_all(&u16::try_from(question.len()).expect("a name is short").to_be_bytes())?;
    socket.write_all(question)?;
    let mut len = [0; 2];
    socket.read_exact(&mut len)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
    socket.read_exact(&mut answer)?;
    Ok(answer)
}

/// A message with one question; none where the name could not be one.
fn question(name: &str) -> Option<Vec<u8>> {
    // The process's id is as good a number as any: one question is asked at a time.
    let number = (std::process::id() as u16).to_be_bytes();
    // Recursion desired, one question, nothing else.
    let mut out = vec![number[0], number[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        let len = u8::try_from(label.len()).ok().filter(|len| (1..64).contains(len))?;
        out.push(len);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&TYPE_SRV.to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    Some(out)
}

/// The SRV records of an answer; none if it cannot be read or says that it failed. A name that does not exist has none.
fn records(answer: &[u8]) -> Option<Vec<Service>> {
    const NO_SUCH_NAME: u8 = 3;
    match answer.get(3)? & 0x0f {
        0 => {}
        NO_SUCH_NAME => return Some(Vec::new()),
        _ => return None,
    }
    let (questions, answers) = (number(answer, 4)?, number(answer, 6)?);
    let mut at = 12;
    for _ in 0..questions {
        at = name(answer, at)?.1 + 4;
    }
    let mut found = Vec::new();
    for _ in 0..answers {
        at = name(answer, at)?.1;
        let (kind, len) = (number(answer, at)?, usize::from(number(answer, at + 8)?));
        let data = at + 10;
        at = data + len;
        if kind == TYPE_SRV {
            let (host, _) = name(answer, data + 6)?;
            found.push(Service { priority: number(answer, data)?, port: number(answer, data + 4)?, host });
        }
    }
    Some(found)
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

/// A name and where it ends.
fn name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels: Vec<String> = Vec::new();
    let mut end = None;
    let mut pointers = 0;
    loop {
        let len = *message.get(at)?;
        if len & 0xc0 == 0xc0 {
            pointers += 1;
            if pointers > POINTERS_MAX {
                return None;
            }
            end.get_or_insert(at + 2);
            at = usize::from(number(message, at)? & 0x3fff);
        } else if len == 0 {
            return Some((labels.join("."), end.unwrap_or(at + 1)));
        } else {
            let label = message.get(at + 1..at + 1 + usize::from(len))?;
            labels.push(String::from_utf8_lossy(label).into_owned());
            at += 1 + usize::from(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Vec<u8> {
        let mut message = question("_etcd-client._tcp.example.org").expect("a name");
        message[2..4].copy_from_slice(&[0x81, 0x80]);
        message[7] = 2;
        for (priority, port, host) in [(20, 2379, "b"), (10, 2380, "a")] {
            // The name of the question, type, class, time to live.
            message.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60]);
            // Priority, weight, port, a label and the domain of the question.
            message.extend([0, 10, 0, priority, 0, 0]);
            message.extend(u16::to_be_bytes(port));
            message.extend([1, host.as_bytes()[0], 0xc0, 30]);
        }
        message
    }

    #[test]
    fn services_are_read() {
        let found = records(&answer()).expect("readable");
        let service = |priority, port, host: &str| Service { priority, port, host: host.to_owned() };
        assert_eq!(found, [service(20, 2379, "b.example.org"), service(10, 2380, "a.example.org")]);
    }

    #[test]
    fn no_bytes_can_panic() {
        let whole = answer();
        for len in 0..whole.len() {
            records(&whole[..len]);
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 0x3f, 0xc0, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                records(&damaged);
            }
        }
    }

    #[test]
    fn what_does_not_exist_has_no_services() {
        let mut message = answer();
        message[3] = 0x83;
        assert_eq!(records(&message), Some(Vec::new()));
        message[3] = 0x82;
        assert_eq!(records(&message), None);
        assert!(question("a..b").is_none() && question(&"a".repeat(64)).is_none());
    }
}
