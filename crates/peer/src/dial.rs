//! Connecting to a member.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use windlass_tls::{Stream, Tls};

use crate::url::Url;

/// Time for everything up to the answer to the greeting, beyond the time after which a peer is dead.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Connects to the first address of the host that takes it.
pub(crate) async fn connect(url: &Url, tls: Option<&Tls>) -> io::Result<Stream> {
    let tcp = TcpStream::connect((url.host.as_str(), url.port)).await?;
    tcp.set_nodelay(true)?;
    match (url.tls, tls) {
        (false, _) => Ok(Stream::Plain(tcp)),
        (true, Some(tls)) => tls.connect(tcp, &url.host).await.map_err(io::Error::other),
        (true, None) => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "no certificates for https are configured"))
        }
    }
}
