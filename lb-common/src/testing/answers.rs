//! The table of answers: a packet, what it is answered with, and the answer, written by hand.

use super::{PacketBuilder, icmp, mac, tcp, udp};
use crate::{
    answer::{Answer, Question},
    link::Link,
    verdict::Reason,
    wire::{
        ipv6::extension,
        protocol::{ICMP, ICMPV6},
        tcp::flags::{ACK, FIN, RST, SYN},
    },
};

/// A row of the table.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What it shows.
    pub name: String,
    /// The packet.
    pub input: Vec<u8>,
    /// What is in it, as parsing tells.
    pub protocol: u8,
    /// Where in the frame the header of `protocol` starts.
    pub transport: usize,
    /// How it is to be answered.
    pub answer: Answer,
    /// The answer, which is sent back; or why there is none, and the packet is unchanged.
    pub outcome: Result<Vec<u8>, Reason>,
}

impl Asked {
    /// What parsing finds out about the packet whose link header is `link`.
    #[must_use]
    pub const fn question(&self, link: Link) -> Question {
        Question {
            link,
            protocol: self.protocol,
            transport: self.transport,
        }
    }
}

/// All rows.
#[must_use]
pub fn answers() -> Vec<Asked> {
    FAMILIES
        .iter()
        .flat_map(|ends| {
            [
                resets(ends),
                no_resets(ends),
                errors(ends),
                quotes(ends),
                no_errors(ends),
                echoes(ends),
                no_echoes(ends),
                unanswerable(ends),
            ]
        })
        .chain([fragments4(), fragments6(), kinds()])
        .flatten()
        .collect()
}

/// What is different in each family.
struct Ends {
    family: &'static str,
    client: &'static str,
    virtual_server: &'static str,
    /// Length of the IP header, in bytes.
    header: usize,
    /// The protocol number of control messages.
    icmp: u8,
    /// Kind and code of each error.
    unreachable: (u8, u8),
    too_big: (u8, u8),
    time_exceeded: (u8, u8),
    /// Kinds of echo request and reply.
    echo: (u8, u8),
    /// Kind of a message that asks for something else.
    other_request: u8,
    /// Type of service of an error about a packet that has 0xbb, and of one that has 0.
    error_service: (u8, u8),
    /// So much is quoted.
    quote: usize,
    /// Sources that nobody is to be reached at, as addresses with ports.
    nobody: &'static [&'static str],
    /// Destinations that are many.
    many: &'static [&'static str],
}

const V4: Ends = Ends {
    family: "IPv4",
    client: "198.51.100.7:4321",
    virtual_server: "192.0.2.10:80",
    header: 20,
    icmp: ICMP,
    unreachable: (3, 3),
    too_big: (3, 4),
    time_exceeded: (11, 0),
    echo: (8, 0),
    other_request: 13,
    error_service: (0xd8, 0xc0),
    quote: 548,
    nobody: &[
        "0.0.0.0:68",
        "0.1.2.3:4321",
        "127.0.0.1:4321",
        "224.0.0.1:4321",
        "239.255.255.250:4321",
        "240.0.0.1:4321",
        "255.255.255.255:4321",
    ],
    many: &["224.0.0.1:80", "239.1.2.3:80", "255.255.255.255:80"],
};
const V6: Ends = Ends {
    family: "IPv6",
    client: "[2001:db8:c::7]:4321",
    virtual_server: "[2001:db8:a::10]:80",
    header: 40,
    icmp: ICMPV6,
    unreachable: (1, 4),
    too_big: (2, 0),
    time_exceeded: (3, 0),
    echo: (128, 129),
    other_request: 135,
    error_service: (0, 0),
    quote: 1232,
    nobody: &[
        "[::]:4321",
        "[::1]:4321",
        "[::ffff:198.51.100.7]:4321",
        "[ff02::1]:4321",
    ],
    many: &["[ff02::1]:80", "[ff0e::1234]:80"],
};
const FAMILIES: [Ends; 2] = [V4, V6];

/// From the router back to the clients' gateway.
const BACK: ([u8; 6], [u8; 6]) = (mac(0x01), mac(0xc1));
/// An IPv4 option: router alert.
const OPTION: [u8; 4] = [0x94, 4, 0, 0];
/// TCP options: MSS, and no operation four times.
const TCP_OPTIONS: [u8; 8] = [2, 4, 5, 0xb4, 1, 1, 1, 1];
/// Of a link header without a tag.
const LINK: usize = 14;
/// Of a link header with one.
const TAGGED_LINK: usize = 18;

impl Ends {
    /// A segment of the client.
    fn segment(&self, flags: u8) -> PacketBuilder {
        tcp(self.client, self.virtual_server).flags(flags)
    }

    /// A datagram of the client.
    fn datagram(&self) -> PacketBuilder {
        udp(self.client, self.virtual_server)
    }

    /// A segment back to it.
    fn reset(&self, flags: u8, sequence: u32, acknowledgement: u32) -> PacketBuilder {
        tcp(self.virtual_server, self.client)
            .macs(BACK)
            .flags(flags)
            .sequence(sequence)
            .acknowledgement(acknowledgement)
            .window(0)
    }

    /// An error back to it that quotes the packet behind so many bytes of link header.
    fn error(&self, (kind, code): (u8, u8), frame: &[u8], link: usize) -> PacketBuilder {
        let ip = &frame[link..];
        icmp(self.virtual_server, self.client, kind, code)
            .macs(BACK)
            .service(self.error_service.1)
            .payload(&ip[..ip.len().min(self.quote)])
    }

    /// An echo request.
    fn request(&self, data: &[u8]) -> PacketBuilder {
        icmp(self.client, self.virtual_server, self.echo.0, 0)
            .message_rest([0x12, 0x34, 0, 7])
            .payload(data)
    }

    /// The reply to it.
    fn reply(&self, data: &[u8]) -> PacketBuilder {
        icmp(self.virtual_server, self.client, self.echo.1, 0)
            .macs(BACK)
            .message_rest([0x12, 0x34, 0, 7])
            .payload(data)
    }

    /// With what may stand between the IP header and the transport header in this family.
    fn with_more_headers(&self, packet: PacketBuilder) -> PacketBuilder {
        packet.options(&OPTION).extensions(&[
            (extension::HOP_BY_HOP, vec![1, 4, 0, 0, 0, 0]),
            (
                extension::DESTINATION,
                vec![1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ),
        ])
    }

    fn answered(
        &self,
        name: &str,
        input: &PacketBuilder,
        answer: Answer,
        output: &PacketBuilder,
    ) -> Asked {
        self.row(name, input, answer, Ok(output.build()))
    }

    fn refused(&self, name: &str, input: &PacketBuilder, answer: Answer) -> Asked {
        self.row(name, input, answer, Err(Reason::Unanswered))
    }

    fn row(
        &self,
        name: &str,
        input: &PacketBuilder,
        answer: Answer,
        outcome: Result<Vec<u8>, Reason>,
    ) -> Asked {
        let (protocol, transport) = input.transport_at();
        Asked {
            name: format!("{}, {answer:?}: {name}", self.family),
            input: input.build(),
            protocol,
            transport,
            answer,
            outcome,
        }
    }
}

impl Asked {
    /// With these bytes in the input from byte `at` on; no checksum is brought up to date.
    fn but(mut self, at: usize, bytes: &[u8]) -> Self {
        self.input[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// With this behind the IP packet.
    fn padded(mut self, padding: &[u8]) -> Self {
        self.input.extend(padding);
        self
    }

    /// As parsing tells it of a fragment: this protocol at that place.
    fn holds(self, protocol: u8, transport: usize) -> Self {
        Self {
            protocol,
            transport,
            ..self
        }
    }

    /// The packet is not understood.
    fn malformed(self) -> Self {
        Self {
            outcome: Err(Reason::Malformed),
            ..self
        }
    }
}

/// The segments' sequence number is 0x01020304, their acknowledgement number 0x0a0b0c0d.
fn resets(ends: &Ends) -> Vec<Asked> {
    let row = |name: &str, input: &PacketBuilder, output: &PacketBuilder| {
        ends.answered(name, input, Answer::Reset, output)
    };
    let by_acknowledgement = ends.reset(RST, 0x0a0b_0c0d, 0);
    let to_syn = ends.reset(RST | ACK, 0, 0x0102_0305);
    let syn = ends.segment(SYN);
    let long = [0x55; 1400];
    vec![
        row("a SYN counts as one", &syn, &to_syn),
        row(
            "TCP options do not count",
            &syn.clone().tcp_options(&TCP_OPTIONS),
            &to_syn,
        ),
        row(
            "a SYN with data and options",
            &syn.clone().tcp_options(&TCP_OPTIONS).payload(b"hello"),
            &ends.reset(RST | ACK, 0, 0x0102_030a),
        ),
        row(
            "the sequence number wraps round",
            &syn.clone().sequence(0xffff_ffff),
            &ends.reset(RST | ACK, 0, 0),
        ),
        row(
            "a FIN counts as one",
            &ends.segment(FIN).payload(b"bye"),
            &ends.reset(RST | ACK, 0, 0x0102_0308),
        ),
        row(
            "SYN and FIN count as two",
            &ends.segment(SYN | FIN),
            &ends.reset(RST | ACK, 0, 0x0102_0306),
        ),
        row(
            "no flag at all",
            &ends.segment(0).payload(&long),
            &ends.reset(RST | ACK, 0, 0x0102_087c),
        ),
        row("an ACK", &ends.segment(ACK), &by_acknowledgement),
        row(
            "an ACK with much data",
            &ends.segment(ACK).payload(&long),
            &by_acknowledgement,
        ),
        row("a SYN-ACK", &ends.segment(SYN | ACK), &by_acknowledgement),
        row("a FIN-ACK", &ends.segment(FIN | ACK), &by_acknowledgement),
        row(
            "behind more headers, which count neither",
            &ends.with_more_headers(ends.segment(FIN).payload(b"bye")),
            &ends.reset(RST | ACK, 0, 0x0102_0308),
        ),
        row(
            "the VLAN tag is kept",
            &syn.clone().vlan(0x6014),
            &to_syn.clone().vlan(0x6014),
        ),
        row(
            "a priority tag is kept",
            &syn.clone().vlan(0xa000),
            &to_syn.clone().vlan(0xa000),
        ),
        row(
            "ECN is not kept",
            &syn.clone().service(0xbb),
            &to_syn.clone().service(0xb8),
        ),
        row(
            "TTL and DF are ours",
            &syn.clone().hops(3).may_fragment(()),
            &to_syn,
        ),
        row("padding is no data", &syn, &to_syn).padded(&[0xee; 6]),
    ]
}

fn no_resets(ends: &Ends) -> Vec<Asked> {
    let refused = |name: &str, input: &PacketBuilder| ends.refused(name, input, Answer::Reset);
    let offset = ends.segment(SYN).transport_at().1 + 12;
    vec![
        refused("a reset", &ends.segment(RST)),
        refused("a reset with ACK", &ends.segment(RST | ACK)),
        refused("a reset with SYN", &ends.segment(RST | SYN)),
        refused("a datagram", &ends.datagram()),
        refused("an echo request", &ends.request(b"")),
        refused("a header of 16 bytes", &ends.segment(SYN))
            .but(offset, &[0x40])
            .malformed(),
        refused("a header longer than the packet", &ends.segment(SYN))
            .but(offset, &[0x60])
            .malformed(),
        refused("a header that reaches into the padding", &ends.segment(SYN))
            .but(offset, &[0x60])
            .padded(&[0; 6])
            .malformed(),
    ]
}

fn errors(ends: &Ends) -> Vec<Asked> {
    let unreachable = |input: &PacketBuilder| ends.error(ends.unreachable, &input.build(), LINK);
    let row = |name: &str, input: &PacketBuilder, output: &PacketBuilder| {
        ends.answered(name, input, Answer::Unreachable, output)
    };
    let datagram = ends.datagram();
    let tagged = datagram.clone().vlan(0x6014);
    let priority = datagram.clone().vlan(0xa000);
    let marked = datagram.clone().service(0xbb);
    let lasting = datagram.clone().hops(1).may_fragment(());
    let long = ends
        .with_more_headers(ends.segment(ACK))
        .payload(&[0x55; 1400]);
    let short = ends.with_more_headers(datagram.clone());
    let ping = ends.request(&[0x77; 1472]);
    let too_big = Answer::TooBig { mtu: 1380 };
    let mtu = [0, 0, 5, 100];
    vec![
        row("a datagram", &datagram, &unreachable(&datagram)),
        row(
            "a segment",
            &ends.segment(SYN),
            &unreachable(&ends.segment(SYN)),
        ),
        row("more headers are quoted", &short, &unreachable(&short)),
        row(
            "the VLAN tag is kept",
            &tagged,
            &ends
                .error(ends.unreachable, &tagged.build(), TAGGED_LINK)
                .vlan(0x6014),
        ),
        row(
            "a priority tag is kept",
            &priority,
            &ends
                .error(ends.unreachable, &priority.build(), TAGGED_LINK)
                .vlan(0xa000),
        ),
        row(
            "type of service",
            &marked,
            &unreachable(&marked).service(ends.error_service.0),
        ),
        row("TTL and DF are ours", &lasting, &unreachable(&lasting)),
        row("padding is not quoted", &datagram, &unreachable(&datagram)).padded(&[0xee; 9]),
        ends.answered(
            "the MTU is told",
            &long,
            too_big,
            &ends
                .error(ends.too_big, &long.build(), LINK)
                .message_rest(mtu),
        ),
        ends.answered(
            "the largest MTU is told",
            &datagram,
            Answer::TooBig { mtu: 0xffff },
            &ends
                .error(ends.too_big, &datagram.build(), LINK)
                .message_rest([0, 0, 0xff, 0xff]),
        ),
        ends.answered(
            "a large echo request",
            &ping,
            too_big,
            &ends
                .error(ends.too_big, &ping.build(), LINK)
                .message_rest(mtu),
        ),
        ends.answered(
            "a datagram",
            &lasting,
            Answer::TimeExceeded,
            &ends.error(ends.time_exceeded, &lasting.build(), LINK),
        ),
        ends.answered(
            "an echo request",
            &ping,
            Answer::TimeExceeded,
            &ends.error(ends.time_exceeded, &ping.build(), LINK),
        ),
    ]
}

/// Packets of all sizes, which are summed up in pieces.
fn quotes(ends: &Ends) -> Vec<Asked> {
    let data: Vec<u8> = (0..1500_u32).map(|i| (i * 31 + 7) as u8).collect();
    // Header of IP and UDP.
    let headers = ends.header + 8;
    (0..150)
        .chain(ends.quote - headers - 3..=ends.quote - headers + 3)
        .chain([500, 511, 512, 513, 1000, 1400, 1472])
        .map(|length| {
            let input = ends.datagram().payload(&data[..length]);
            ends.answered(
                &format!("{length} bytes of data"),
                &input,
                Answer::Unreachable,
                &ends.error(ends.unreachable, &input.build(), LINK),
            )
        })
        .collect()
}

fn no_errors(ends: &Ends) -> Vec<Asked> {
    let quoted = ends.datagram().build();
    let all = [
        Answer::Unreachable,
        Answer::TooBig { mtu: 1400 },
        Answer::TimeExceeded,
    ];
    all.iter()
        .flat_map(|answer| {
            [ends.unreachable, ends.too_big, ends.time_exceeded].map(|(kind, code)| {
                let error =
                    icmp(ends.client, ends.virtual_server, kind, code).payload(&quoted[LINK..]);
                [
                    ends.refused(&format!("an error {kind}/{code}"), &error, *answer),
                    ends.refused(
                        &format!("an error {kind}/{code} behind more headers"),
                        &ends.with_more_headers(error),
                        *answer,
                    ),
                ]
            })
        })
        .flatten()
        .collect()
}

fn echoes(ends: &Ends) -> Vec<Asked> {
    let row = |name: &str, input: &PacketBuilder, output: &PacketBuilder| {
        ends.answered(name, input, Answer::Echo, output)
    };
    let long = [0x77; 1472];
    let zero = |packet: PacketBuilder| packet.message_rest([0; 4]);
    let checksum = ends.request(b"?").transport_at().1 + 2;
    let mut wrong = row("a wrong checksum", &ends.request(b"?"), &ends.reply(b"?"));
    // One more in the request, one more in the reply.
    for frame in [&mut wrong.input].into_iter().chain(&mut wrong.outcome) {
        frame[checksum + 1] = frame[checksum + 1].wrapping_add(1);
    }
    let mut padded = row("padding", &ends.request(b"?"), &ends.reply(b"?")).padded(&[0xee; 9]);
    padded
        .outcome
        .iter_mut()
        .for_each(|frame| frame.extend([0xee; 9]));
    let (kind, _) = ends.echo;
    vec![
        row("no data", &ends.request(b""), &ends.reply(b"")),
        row("odd data", &ends.request(b"?"), &ends.reply(b"?")),
        row("much data", &ends.request(&long), &ends.reply(&long)),
        row(
            "all is zero",
            &zero(ends.request(&[0; 64])),
            &zero(ends.reply(&[0; 64])),
        ),
        row(
            "a code",
            &icmp(ends.client, ends.virtual_server, kind, 5),
            &icmp(ends.virtual_server, ends.client, ends.echo.1, 5).macs(BACK),
        ),
        row(
            "the VLAN tag is kept",
            &ends.request(b"!").vlan(0x6014),
            &ends.reply(b"!").vlan(0x6014),
        ),
        row(
            "the type of service is kept, TTL and DF are ours",
            &ends.request(b"!").service(0xbb).hops(3).whole(()),
            &ends.reply(b"!").service(0xbb),
        ),
        padded,
        wrong,
    ]
}

fn no_echoes(ends: &Ends) -> Vec<Asked> {
    let refused = |name: &str, input: &PacketBuilder| ends.refused(name, input, Answer::Echo);
    let message = |kind: u8| icmp(ends.client, ends.virtual_server, kind, 0);
    // Where the IP header says its length, and what it says of a message of four bytes.
    let (length_at, length) = if ends.icmp == ICMP {
        (LINK + 2, [0, 24])
    } else {
        (LINK + 4, [0, 4])
    };
    vec![
        refused("a reply", &message(ends.echo.1)),
        refused("an error", &message(ends.unreachable.0)),
        refused("another request", &message(ends.other_request)),
        refused("a segment", &ends.segment(SYN)),
        refused("a datagram", &ends.datagram()),
        refused("a datagram whose port looks like it", &ends.datagram())
            .but(ends.datagram().transport_at().1, &[ends.echo.0, 0]),
        refused("more headers", &ends.with_more_headers(ends.request(b""))),
        refused("a header that reaches into the padding", &ends.request(b""))
            .but(length_at, &length)
            .malformed(),
    ]
}

/// What gets no answer of any kind.
fn unanswerable(ends: &Ends) -> Vec<Asked> {
    let kinds = [
        (Answer::Reset, ends.segment(SYN)),
        (Answer::Unreachable, ends.datagram()),
        (Answer::TooBig { mtu: 1400 }, ends.segment(ACK)),
        (Answer::TimeExceeded, ends.datagram()),
        (Answer::Echo, ends.request(b"!")),
    ];
    let mut rows = Vec::new();
    for (answer, packet) in &kinds {
        let group = [0x01, 0, 0x5e, 0, 0, 1];
        for (name, macs) in [
            ("a link broadcast", (mac(0xc1), [0xff; 6])),
            ("a link multicast", (mac(0xc1), group)),
            ("from a link multicast", (group, mac(0x01))),
        ] {
            rows.push(ends.refused(name, &packet.clone().macs(macs), *answer));
        }
        for source in ends.nobody {
            rows.push(ends.refused(
                &format!("from {source}"),
                &packet.clone().from(source),
                *answer,
            ));
        }
        for destination in ends.many {
            rows.push(ends.refused(
                &format!("to {destination}"),
                &packet.clone().to(destination),
                *answer,
            ));
        }
        rows.push(ends.refused(
            "from the virtual address to itself",
            &packet.clone().from(ends.virtual_server),
            *answer,
        ));
        let mut short = ends
            .refused("shorter than its header says", packet, *answer)
            .malformed();
        short.input.pop();
        rows.push(short);
    }
    rows
}

fn fragments4() -> Vec<Asked> {
    let ends = &V4;
    const FRAGMENT: usize = LINK + 6;
    let first = [0x20, 0];
    let later = [0, 0x2c];
    let cut = ends.datagram().payload(&[0x33; 64]);
    let mut quoting = cut.build();
    quoting[FRAGMENT..FRAGMENT + 2].copy_from_slice(&first);
    let mut rows = vec![
        ends.answered(
            "the first fragment",
            &cut,
            Answer::TimeExceeded,
            &ends.error(ends.time_exceeded, &quoting, LINK),
        )
        .but(FRAGMENT, &first),
        ends.refused("the first fragment", &ends.segment(SYN), Answer::Reset)
            .but(FRAGMENT, &first),
        ends.refused("the first fragment", &ends.request(b""), Answer::Echo)
            .but(FRAGMENT, &first),
        ends.refused("a later fragment", &ends.segment(SYN), Answer::Reset)
            .but(FRAGMENT, &later),
        ends.refused("a later fragment", &ends.request(b""), Answer::Echo)
            .but(FRAGMENT, &later),
    ];
    for answer in [
        Answer::Unreachable,
        Answer::TooBig { mtu: 1400 },
        Answer::TimeExceeded,
    ] {
        rows.push(
            ends.refused("a later fragment", &cut, answer)
                .but(FRAGMENT, &later),
        );
        rows.push(
            ends.refused("the last fragment", &cut, answer)
                .but(FRAGMENT, &[0x3f, 0xff]),
        );
    }
    // Identification is not taken over.
    rows.push(
        ends.answered(
            "a segment with an identification",
            &ends.segment(ACK),
            Answer::Reset,
            &ends.reset(RST, 0x0a0b_0c0d, 0),
        )
        .but(LINK + 4, &[0xab, 0xcd]),
    );
    rows
}

fn fragments6() -> Vec<Asked> {
    let ends = &V6;
    const FRAGMENT: usize = LINK + 40;
    let part = |packet: PacketBuilder, offset: [u8; 2]| {
        let [high, low] = offset;
        packet.extensions(&[(extension::FRAGMENT, vec![high, low, 1, 2, 3, 4])])
    };
    let (first, later) = ([0, 1], [0, 0x41]);
    let datagram = part(ends.datagram(), first);
    let error = || icmp(ends.client, ends.virtual_server, 1, 4);
    vec![
        ends.answered(
            "the first fragment",
            &datagram,
            Answer::Unreachable,
            &ends.error(ends.unreachable, &datagram.build(), LINK),
        )
        .holds(extension::FRAGMENT, FRAGMENT),
        ends.refused(
            "the first fragment of an error",
            &part(error(), first),
            Answer::TimeExceeded,
        )
        .holds(extension::FRAGMENT, FRAGMENT),
        ends.refused(
            "a later fragment",
            &part(ends.datagram(), later),
            Answer::TimeExceeded,
        )
        .holds(extension::FRAGMENT, FRAGMENT),
        ends.refused(
            "the last fragment",
            &part(ends.datagram(), [0, 8]),
            Answer::TooBig { mtu: 1400 },
        )
        .holds(extension::FRAGMENT, FRAGMENT),
        ends.refused("a fragment", &part(ends.segment(SYN), first), Answer::Reset)
            .holds(extension::FRAGMENT, FRAGMENT),
        ends.refused("a fragment", &part(ends.request(b""), first), Answer::Echo)
            .holds(extension::FRAGMENT, FRAGMENT),
    ]
}

/// Every kind of control message: whether there are errors about it.
fn kinds() -> Vec<Asked> {
    let mut rows = Vec::new();
    for kind in 0..=255_u8 {
        for (ends, is_error) in [
            (&V4, matches!(kind, 3 | 4 | 5 | 11 | 12 | 19..)),
            (&V6, matches!(kind, 0..128 | 137)),
        ] {
            let input = icmp(ends.client, ends.virtual_server, kind, 0);
            let name = format!("about a message of kind {kind}");
            rows.push(if is_error {
                ends.refused(&name, &input, Answer::TimeExceeded)
            } else {
                ends.answered(
                    &name,
                    &input,
                    Answer::TimeExceeded,
                    &ends.error(ends.time_exceeded, &input.build(), LINK),
                )
            });
        }
    }
    rows
}
