//! Listening sockets, one for each arbiter on the same address.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use windlass_tls::Tls;

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// On an address and port.
    Tcp(TcpListener),
    /// On a path.
    Unix(UnixListener),
    /// On an address and port, for clients that speak TLS.
    Tls(TcpListener, Tls),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Why an address cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    address: String,
    source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, self.source)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Listens on `address` (`host:port`, the host a name, an IPv4 or a bracketed IPv6 address, or empty for all
/// interfaces; `0.0.0.0` and `[::]` are all interfaces too, of both families) with `count` sockets among which the
/// kernel spreads connections (`SO_REUSEPORT`). Port 0 lets the system choose one for all.
///
/// # Errors
/// If the address cannot be resolved or is in use, also by another process that shares its port.
pub fn bind(address: &str, count: usize) -> Result<Vec<TcpListener>, BindError> {
    let fail = |source| BindError { address: address.to_owned(), source };
    let mut resolved = resolve(address).map_err(fail)?;
    if count <= 1 {
        return Ok(vec![listen(resolved, false).map_err(fail)?]);
    }
    // Sockets that share a port would also share it with another server's: so the port is first taken alone.
    let alone = listen(resolved, false).map_err(fail)?;
    resolved = alone.local_addr().map_err(fail)?;
    drop(alone);
    (0..count).map(|_| listen(resolved, true).map_err(fail)).collect()
}

/// Listens on the path of a Unix socket, with `count` handles of one socket. A socket that nobody listens on any more is
/// replaced, as etcd does.
///
/// # Errors
/// If the path is not one of a socket, or another process listens on it.
pub fn bind_unix(path: &str, count: usize) -> Result<Vec<UnixListener>, BindError> {
    let fail = |source| BindError { address: path.to_owned(), source };
    if let Ok(found) = std::fs::symlink_metadata(path) {
        let is_left_over = found.file_type().is_socket() && UnixStream::connect(path).is_err();
        if !is_left_over {
            return Err(fail(io::ErrorKind::AddrInUse.into()));
        }
        std::fs::remove_file(path).map_err(fail)?;
    }
    let listener = UnixListener::bind(path).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    (0..count).map(|_| listener.try_clone().map_err(fail)).collect()
}

/// IPv4 first, as Go's `net.Listen` does.
fn resolve(address: &str) -> io::Result<SocketAddr> {
    if let Some(port) = address.strip_prefix(':') {
        return resolve(&format!("[::]:{port}"));
    }
    let all: Vec<_> = address.to_socket_addrs()?.collect();
    let first = all.iter().find(|a| a.is_ipv4()).or(all.first());
    first.copied().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
}

/// As Go's `net.Listen`: an address that is any of its family is any of both, where the machine has both.
fn listen(address: SocketAddr, share: bool) -> io::Result<TcpListener> {
    if !address.ip().is_unspecified() {
        return listen_on(address, share);
    }
    let [v6, v4] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
    match listen_on(SocketAddr::new(v6, address.port()), share) {
        Err(error) if is_without_family(&error) => listen_on(SocketAddr::new(v4, address.port()), share),
        bound => bound,
    }
}

/// Whether a machine has no IPv6, or has it switched off.
fn is_without_family(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

fn listen_on(address: SocketAddr, share: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    if share {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn sockets_of_one_server_share_a_port_and_others_are_kept_out() {
        let first = bind("127.0.0.1:0", 3).expect("binds");
        let address = first[0].local_addr().expect("bound");
        assert!(first.iter().all(|l| l.local_addr().ok() == Some(address)));
        for count in [1, 2] {
            let error = bind(&address.to_string(), count).expect_err("in use").to_string();
            assert!(
                error.contains(&format!("cannot listen on {address}: Address already in use")),
                "{error}"
            );
        }
        drop(first);
        bind(&address.to_string(), 2).expect("free again");
    }

    #[test]
    fn any_address_is_one_of_both_families() {
        for any in ["0.0.0.0:0", ":0", "[::]:0"] {
            let bound = bind(any, 2).expect("binds");
            let port = bound[0].local_addr().expect("bound").port();
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("IPv4 reaches it");
            // Where the machine has it.
            if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
                TcpStream::connect((Ipv6Addr::LOCALHOST, port)).expect("IPv6 reaches it");
            }
        }
        let only = bind("127.0.0.1:0", 1).expect("binds");
        assert!(only[0].local_addr().expect("bound").is_ipv4());
    }

    #[test]
    fn a_left_over_socket_is_replaced_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("windlass-listen-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("socket");
        let path = path.to_str().expect("a plain path");
        let first = bind_unix(path, 2).expect("binds");
        assert!(bind_unix(path, 1).is_err(), "somebody listens");
        drop(first);
        drop(bind_unix(path, 1).expect("left over"));
        std::fs::remove_file(path).expect("there");
        std::fs::write(path, "not a socket").expect("written");
        assert!(bind_unix(path, 1).is_err(), "a file");
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn addresses_that_are_none_are_refused_by_name() {
        for bad in ["127.0.0.1", "127.0.0.1:x", "", "256.0.0.1:1"] {
            let error = bind(bad, 1).expect_err("no address").to_string();
            assert!(error.starts_with(&format!("cannot listen on {bad}: ")), "{error}");
        }
        assert!(resolve("localhost:1").is_ok_and(|a| a.is_ipv4()));
        assert_eq!(resolve(":0").ok(), "[::]:0".parse().ok());
    }
}
