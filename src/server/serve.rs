//! Binding the routes to sockets.

use std::{future::Future, net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;

use super::{Server, operator_router, router};
use crate::http::{self, Drained, Listening};

/// Who may reach a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Anyone: [`router`].
    Public,
    /// The operator: [`operator_router`].
    Operator,
}

/// A bound socket and whom it serves.
#[derive(Debug)]
pub struct Binding {
    /// The socket.
    pub listener: TcpListener,
    /// Whom it serves.
    pub audience: Audience,
}

/// Serves all `bindings` until `shutdown` completes, then stops accepting and lets requests in
/// flight finish, for as long as the limits allow. The logs stay open: their owner closes them
/// after this returns, when no request can be in flight.
pub async fn serve(
    server: &Arc<Server>,
    bindings: Vec<Binding>,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    let limits = &server.limits;
    let listening = bindings.into_iter().map(|Binding { listener, audience }| match audience {
        Audience::Public => {
            Listening { listener, routes: router(server), connections_max: limits.connections_max }
        }
        Audience::Operator => Listening {
            listener,
            routes: operator_router(server),
            connections_max: limits.operator_connections_max,
        },
    });
    http::serve(listening.collect(), limits.timers(), server.metrics.connections(), shutdown).await
}

impl Binding {
    /// Binds `address`; port 0 lets the kernel choose.
    ///
    /// # Errors
    /// As the operating system reports: the address is taken, or not ours.
    pub async fn new(address: SocketAddr, audience: Audience) -> std::io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, audience })
    }

    /// The address that is bound, with its port.
    ///
    /// # Errors
    /// As the operating system reports.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
