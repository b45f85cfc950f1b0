//! Netlink: questions to the kernel, and what it tells by itself.
//!
//! They use two sockets, so that a burst of notices cannot push an answer out of the buffer.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream::BoxStream};
use netlink_packet_route::RouteNetlinkMessage;
use nix::errno::Errno;
use rtnetlink::{
    Handle, MulticastGroup,
    packet_core::{NLM_F_MULTIPART, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    sys::AsyncSocket,
};
use tokio::{task::JoinSet, time::timeout};

use super::Refusal;

/// How long an answer may take. The kernel answers at once, if at all.
const PATIENCE: Duration = Duration::from_secs(2);

/// Room for notices that were not read yet; the kernel may give less.
const NOTICE_BUFFER: u32 = 4 << 20;

/// What a director wants to be told: everything that may change the way to a real server.
const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// A socket for questions.
pub(super) struct Kernel {
    handle: Handle,
    /// Drives the socket; dropped with it.
    _connection: JoinSet<()>,
}

impl Kernel {
    /// Opens a socket in the network namespace of the calling thread. Needs a tokio runtime.
    pub(super) fn open() -> Result<Self, Refusal> {
        let (mut connection, handle, _) = rtnetlink::new_connection()?;
        // The end of an answer is forwarded, for only so is half an answer told from a whole one.
        connection.set_forward_done(true);
        connection.set_forward_ack(true);
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Ok(Self {
            handle,
            _connection: driver,
        })
    }

    /// Sends a request and waits for the whole answer: all messages of a dump, the one message of
    /// a look-up, or none if it is only acknowledged.
    pub(super) async fn ask(
        &self,
        question: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, Refusal> {
        timeout(PATIENCE, self.exchange(question, flags))
            .await
            .unwrap_or(Err(Refusal::Silence))
    }

    async fn exchange(
        &self,
        question: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, Refusal> {
        let mut request = NetlinkMessage::from(question);
        request.header.flags = NLM_F_REQUEST | flags;
        let mut replies = self
            .handle
            .clone()
            .request(request)
            .map_err(|_| Refusal::Silence)?;
        let mut answer = Vec::new();
        while let Some(reply) = replies.next().await {
            let alone = reply.header.flags & NLM_F_MULTIPART == 0;
            match reply.payload {
                NetlinkPayload::Done(_) => return Ok(answer),
                NetlinkPayload::Error(error) => match error.code {
                    None => return Ok(answer),
                    Some(code) => return Err(Errno::from_raw(-code.get()).into()),
                },
                NetlinkPayload::InnerMessage(message) => {
                    answer.push(message);
                    if alone {
                        return Ok(answer);
                    }
                }
                NetlinkPayload::Noop | NetlinkPayload::Overrun(_) | _ => {
                    return Err(Refusal::Silence);
                }
            }
        }
        Err(Refusal::Silence)
    }
}

/// What the kernel tells without being asked.
pub(super) enum Notice {
    /// A link, neighbour, route, address or rule came, changed or went.
    Changed(RouteNetlinkMessage),
    /// Notices were lost: everything has to be read again.
    Lost,
}

/// A socket for notices.
pub(super) struct Monitor {
    notices: BoxStream<'static, Notice>,
    _connection: JoinSet<()>,
}

impl Monitor {
    /// Opens a socket in the network namespace of the calling thread. Needs a tokio runtime.
    pub(super) fn open() -> Result<Self, Refusal> {
        let (mut connection, _, messages) = rtnetlink::new_multicast_connection(&GROUPS)?;
        if let Err(error) = connection
            .socket_mut()
            .socket_mut()
            .set_rx_buf_sz(NOTICE_BUFFER)
        {
            tracing::debug!(%error, "the buffer for netlink notices stays small");
        }
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let notices = messages.filter_map(|(message, _)| async move {
            match message.payload {
                NetlinkPayload::InnerMessage(message) => Some(Notice::Changed(message)),
                NetlinkPayload::Overrun(_) => Some(Notice::Lost),
                NetlinkPayload::Done(_) | NetlinkPayload::Error(_) | NetlinkPayload::Noop | _ => {
                    None
                }
            }
        });
        Ok(Self {
            notices: notices.boxed(),
            _connection: driver,
        })
    }

    /// The next notice; none when the socket broke.
    pub(super) async fn next(&mut self) -> Option<Notice> {
        self.notices.next().await
    }

    /// The notices that are there already.
    pub(super) fn waiting(&mut self) -> Vec<Notice> {
        let mut waiting = Vec::new();
        while let Some(Some(notice)) = self.notices.next().now_or_never() {
            waiting.push(notice);
        }
        waiting
    }
}
