//! One check of one real server, over real sockets.

use std::{
    io::{self, Read as _},
    net::SocketAddr,
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::{TcpStream, UdpSocket},
    time::{sleep, timeout},
};

use super::{
    Failure, Outcome, Step, Target, Timing, agent,
    check::{Rest, Verdict, appetite, judge, wanted},
    dial::Dial,
    dns,
    failure::quoted,
    greeting, http, icmp,
    passage::{Through, Way},
    program, sctp, tls,
    visit::Visit,
    witness::{Happening, Witness, nobody},
};
use crate::model::{Check, Expect, Protocol, Tls};

/// How long a UDP service without an `expect` has for refusing a datagram.
const REFUSAL: Duration = Duration::from_secs(1);

/// The pause before a failed check is tried again, unless its interval is shorter.
const BEFORE_RETRY: Duration = Duration::from_millis(200);

/// Checks a real server once.
pub async fn probe_once(target: &Target) -> Outcome {
    probe_told(target, &mut nobody).await
}

/// The same, and tells what happens as it happens. A failed try is followed by others, if the probe has some.
pub async fn probe_told(target: &Target, witness: Witness<'_>) -> Outcome {
    let mut left = target.probe.retries;
    loop {
        let outcome = match target.probe.limit {
            Some(limit) => within(limit, called(target), try_once(target, witness)).await,
            None => try_once(target, witness).await,
        };
        match outcome {
            Err(failure) if left > 0 && !failure.is_the_directors() => {
                left -= 1;
                witness(Happening::Again(&failure));
                sleep(limit(target).min(BEFORE_RETRY)).await;
            }
            outcome => return outcome,
        }
    }
}

/// What a check that is cut short was about: the first of the virtual addresses, if it is asked there.
fn called(target: &Target) -> SocketAddr {
    let through = target.through.as_ref();
    let address = through.and_then(|through| through.addresses.first().copied());
    SocketAddr::new(
        address.unwrap_or(target.address.ip()),
        target.address.port(),
    )
}

/// What a server's agent says.
pub(super) async fn ask_agent(target: &Target, port: u16) -> Result<agent::Said, Failure> {
    let address = SocketAddr::new(target.server.ip(), port);
    let limit = target.probe.limit.unwrap_or_else(|| limit(target));
    let mut witness = nobody;
    agent::ask(&mut Visit::begin(Dial::plain(address), limit, &mut witness)).await
}

/// A check that may take so long altogether.
async fn within(
    limit: Duration,
    server: SocketAddr,
    check: impl Future<Output = Outcome>,
) -> Outcome {
    timeout(limit, check).await.unwrap_or_else(|_elapsed| {
        Err(Failure::Step {
            step: Step::Read,
            server,
            error: format!("no answer within {limit:?}"),
        })
    })
}

/// What is rare is put elsewhere, so that a check that only connects stays small: there may be thousands under
/// way.
async fn try_once(target: &Target, witness: Witness<'_>) -> Outcome {
    match &target.through {
        Some(through) => Box::pin(try_through(target, through, witness)).await,
        None => try_at(target, Dial::plain(target.address), witness).await,
    }
}

/// At each virtual address, by the way that packets of clients take to this server. It is well if it answers at all
/// of them.
async fn try_through(target: &Target, through: &Through, witness: Witness<'_>) -> Outcome {
    let longest = limit(target).max(target.probe.limit.unwrap_or_default());
    for address in &through.addresses {
        let address = SocketAddr::new(*address, target.address.port());
        match through.way(address, longest).await? {
            Way::Passage(passage) => {
                witness(Happening::Called(address));
                try_at(target, Dial::through(address, &passage), witness).await?;
            }
            Way::Local => return try_at(target, Dial::plain(target.address), witness).await,
        }
    }
    Ok(())
}

async fn try_at(target: &Target, dial: Dial<'_>, witness: Witness<'_>) -> Outcome {
    let (server, limit) = (dial.address, limit(target));
    match (&target.probe.check, target.protocol) {
        (Check::Talk { send, expect }, Protocol::Tcp) => {
            talk(
                dial.stream(),
                server,
                target,
                send.as_deref(),
                expect.as_ref(),
                witness,
            )
            .await
        }
        (Check::Talk { send, expect }, Protocol::Sctp) => {
            let association = sctp::connect(server);
            talk(
                association,
                server,
                target,
                send.as_deref(),
                expect.as_ref(),
                witness,
            )
            .await
        }
        (Check::Talk { send, expect }, Protocol::Udp) => {
            talk_udp(dial, target, send.as_deref(), expect.as_ref(), witness).await
        }
        (Check::Talk { .. }, protocol @ (Protocol::Ah | Protocol::Esp)) => Err(Failure::Untried {
            error: format!("nobody can be asked by {protocol}; only a program can check this"),
        }),
        (Check::Program { command, expect }, _) => {
            Box::pin(program::run(
                server,
                command,
                expect.as_deref(),
                limit,
                witness,
            ))
            .await
        }
        (Check::Tls { tls, send, expect }, _) => {
            let visit = Visit::of(target, dial, witness);
            Box::pin(talk_secured(visit, tls, send.as_deref(), expect.as_ref())).await
        }
        (Check::Http(http), _) => {
            Box::pin(http::page(&mut Visit::of(target, dial, witness), http)).await
        }
        (Check::Grpc(grpc), _) => {
            Box::pin(http::health(&mut Visit::of(target, dial, witness), grpc)).await
        }
        (Check::Dns(question), protocol) => {
            Box::pin(dns::ask(
                &mut Visit::of(target, dial, witness),
                question,
                protocol,
            ))
            .await
        }
        (Check::Icmp, _) => Box::pin(icmp::echo(&mut Visit::of(target, dial, witness))).await,
        (Check::Greeting(greeting), _) => {
            Box::pin(greeting::greet(
                &mut Visit::of(target, dial, witness),
                greeting,
            ))
            .await
        }
    }
}

/// A conversation inside TLS.
async fn talk_secured(
    mut visit: Visit<'_>,
    tls: &Tls,
    send: Option<&[u8]>,
    expect: Option<&Expect>,
) -> Outcome {
    let stream = visit.connect().await?;
    let mut stream = tls::secure(&mut visit, tls, None, stream).await?;
    if let Some(text) = send {
        visit.send(&mut stream, text).await?;
    }
    let Some(expect) = expect else {
        return Ok(());
    };
    let is_decided = |bytes: &[u8]| judge(expect, bytes, Rest::Open) != Verdict::NeedMore;
    let (answer, _) = visit
        .read(&mut stream, appetite(expect), is_decided)
        .await?;
    match judge(expect, &answer, Rest::Ended) {
        Verdict::Mismatch(failure) => Err(failure),
        Verdict::Matched | Verdict::NeedMore => Ok(()),
    }
}

/// A conversation over a stream.
async fn talk(
    connect: impl Future<Output = io::Result<TcpStream>>,
    server: SocketAddr,
    target: &Target,
    send: Option<&[u8]>,
    expect: Option<&Expect>,
    witness: Witness<'_>,
) -> Outcome {
    let limit = limit(target);
    let mut stream = step(Step::Connect, server, limit, connect).await?;
    witness(Happening::Connected);
    if send.is_none() || expect.is_some() {
        // Closing with a reset (an ABORT of SCTP) leaves no TIME_WAIT, neither here nor there. Where `send` is all
        // there is, a reset could overtake it. Without the option the close is an ordinary one.
        let _ordinary = stream.set_zero_linger();
    }
    if let Some(text) = send {
        step(Step::Send, server, limit, stream.write_all(text)).await?;
        witness(Happening::Sent(text));
    }
    match expect {
        Some(expect) => read_answer(&mut stream, (server, limit), expect, witness).await,
        None => Ok(()),
    }
}

async fn talk_udp(
    dial: Dial<'_>,
    target: &Target,
    send: Option<&[u8]>,
    expect: Option<&Expect>,
    witness: Witness<'_>,
) -> Outcome {
    let (server, limit) = (dial.address, limit(target));
    let socket = dial
        .datagrams()
        .await
        .map_err(|error| Failure::of_step(Step::Connect, server, &error))?;
    let text = send.unwrap_or_default();
    step(Step::Send, server, limit, socket.send(text)).await?;
    witness(Happening::Sent(text));

    let (size, limit) = match expect {
        Some(expect) => (appetite(expect), limit),
        None => (0, limit.min(REFUSAL)),
    };
    let answer = match timeout(limit, datagram(&socket, size)).await {
        Ok(answer) => Some(answer.map_err(|error| Failure::of_step(Step::Read, server, &error))?),
        Err(_elapsed) => None,
    };
    match (expect, answer) {
        (None, _) => Ok(()),
        (Some(_), None) => Err(Failure::NoAnswer { within: limit }),
        (Some(expect), Some(answer)) => {
            witness(Happening::Received(&answer));
            match judge(expect, &answer, Rest::Ended) {
                Verdict::Mismatch(failure) => Err(failure),
                Verdict::Matched | Verdict::NeedMore => Ok(()),
            }
        }
    }
}

/// How long each step of a check may take.
fn limit(target: &Target) -> Duration {
    Timing::of(&target.probe).interval()
}

/// One step of a conversation, within its limit.
async fn step<T>(
    step: Step,
    server: SocketAddr,
    limit: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, Failure> {
    match timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Failure::of_step(step, server, &error)),
        Err(_elapsed) => Err(Failure::Step {
            step,
            server,
            error: format!("no answer within {limit:?}"),
        }),
    }
}

/// Reads until the answer is decided; the limit is for the whole answer, however it trickles.
async fn read_answer(
    stream: &mut TcpStream,
    (server, limit): (SocketAddr, Duration),
    expect: &Expect,
    witness: Witness<'_>,
) -> Outcome {
    let mut received = Vec::new();
    let reading = read_until_decided(stream, expect, &mut received, witness);
    let decided = timeout(limit, reading).await;
    match decided {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => Err(Failure::of_step(Step::Read, server, &error)),
        Err(_elapsed) if received.is_empty() => Err(Failure::NoAnswer { within: limit }),
        Err(_elapsed) => Err(Failure::Unfinished {
            answered: quoted(&received),
            expected: wanted(expect),
            within: limit,
        }),
    }
}

/// `received` grows with what comes and never beyond the appetite of `expect`.
async fn read_until_decided(
    stream: &mut TcpStream,
    expect: &Expect,
    received: &mut Vec<u8>,
    witness: Witness<'_>,
) -> io::Result<Outcome> {
    let mut answer = stream.take(appetite(expect) as u64);
    let mut rest = Rest::Open;
    loop {
        match judge(expect, received, rest) {
            Verdict::Matched => return Ok(Ok(())),
            Verdict::Mismatch(failure) => return Ok(Err(failure)),
            Verdict::NeedMore => {}
        }
        let before = received.len();
        if answer.read_buf(received).await? == 0 {
            rest = Rest::Ended;
            witness(Happening::Ended);
        } else {
            witness(Happening::Received(
                received.get(before..).unwrap_or_default(),
            ));
        }
    }
}

/// The first `size` bytes of the next datagram; room for them is made when it is there.
pub(super) async fn datagram(socket: &UdpSocket, size: usize) -> io::Result<Vec<u8>> {
    // tokio's own `recv` waits for data only: an ICMP error would not wake it.
    let interest = Interest::READABLE | Interest::ERROR;
    socket
        .async_io(interest, || {
            let mut answer = vec![0; size];
            let length = (&*SockRef::from(socket)).read(&mut answer)?;
            answer.truncate(length);
            Ok(answer)
        })
        .await
}

#[cfg(test)]
mod tests;
