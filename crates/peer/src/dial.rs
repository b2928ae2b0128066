//! Connecting to a member.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use windlass_tls::Stream;

use crate::url::Url;

/// Time for everything up to the answer to the greeting, beyond the time after which a peer is dead.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Connects to the first address of the host that takes it.
pub(crate) async fn connect(url: &Url) -> io::Result<Stream> {
    let tcp = TcpStream::connect((url.host.as_str(), url.port)).await?;
    tcp.set_nodelay(true)?;
    if url.tls {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "no certificates for https are configured"));
    }
    Ok(Stream::Plain(tcp))
}
