//! Is there a server, can it be trusted, and does it let us in?

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use spark_connect_core::{ChannelBuilder, SparkError};

use super::fault::{self, Fault};
use super::{Late, shown, within};
use crate::error::{Error, Result};
use crate::findings;

/// Can a connection be made at all? The client would say of a missing server and of a wrong
/// certificate that both are unavailable.
pub(super) async fn listens(
    builder: &ChannelBuilder,
    limit: Duration,
    cancelled: &AtomicBool,
) -> Result<()> {
    let endpoint = builder.endpoint();
    let unreachable = |cause: &str| {
        let server = format!("{} ({cause})", shown(builder));
        Error::environment(findings::server_unreachable(&server))
    };
    let asked = tokio::task::spawn_blocking(move || connects(&endpoint, limit));
    match within(limit, cancelled, asked).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(cause))) => Err(unreachable(&cause.to_string())),
        Ok(Err(_)) => Err(unreachable("the look-up of its name broke off")),
        Err(Late::Time) => Err(unreachable("no answer")),
        Err(Late::Cancelled) => Err(Error::cancelled()),
    }
}

fn connects(endpoint: &str, limit: Duration) -> std::io::Result<()> {
    let mut last = std::io::Error::other("its name has no address");
    let addresses: Vec<_> = endpoint.to_socket_addrs()?.collect();
    let each = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    for address in addresses {
        match TcpStream::connect_timeout(&address, each.max(Duration::from_millis(1))) {
            Ok(_) => return Ok(()),
            Err(cause) => last = cause,
        }
    }
    Err(last)
}

/// What the first call says of a server that takes connections.
pub(super) fn first_answer(builder: &ChannelBuilder, cause: &SparkError) -> Error {
    // From rustls, whose words these are, in a process of ours.
    if let Some((_, why)) = cause.message.split_once("invalid peer certificate: ") {
        return Error::environment(findings::certificate_untrusted(builder.host(), why));
    }
    match Fault::of(cause) {
        Fault::Unauthenticated => {
            fault::log(cause);
            Error::environment(findings::login_refused(&shown(builder)))
        }
        Fault::Passing => {
            fault::log(cause);
            Error::environment(findings::server_foreign(&shown(builder), builder.use_ssl()))
        }
        _ => fault::error(cause, &shown(builder)),
    }
}
