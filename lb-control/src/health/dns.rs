//! A question of DNS (RFC 1035) and its answer.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::{Ipv4Addr, Ipv6Addr},
};

use tokio::net::TcpStream;

use super::{
    Failure, Outcome, Step,
    failure::quoted,
    probe::datagram,
    visit::{Visit, wrong},
    witness::Happening,
};
use crate::model::{Protocol, Question};

/// The largest datagram that is taken; longer answers are cut by the server.
const DATAGRAM: usize = 1232;

/// The longest name, with the dots.
const NAME: usize = 255;

/// Asks, over the protocol of the service.
pub(super) async fn ask(visit: &mut Visit<'_>, question: &Question, protocol: Protocol) -> Outcome {
    // Nobody who does not see the question can answer it.
    let id = RandomState::new().hash_one(visit.server) as u16;
    let query = query(question, id);
    let answer = if protocol == Protocol::Tcp {
        by_stream(visit, &query).await?
    } else {
        by_datagram(visit, &query, id).await?
    };
    let message = Message::read(&answer)
        .filter(|message| message.id == id)
        .ok_or_else(|| wrong(quoted(&answer), "an answer of DNS"))?;
    judge(question, &message)
}

async fn by_datagram(visit: &mut Visit<'_>, query: &[u8], id: u16) -> Result<Vec<u8>, Failure> {
    let socket = visit.datagrams().await?;
    visit.step(Step::Send, socket.send(query)).await?;
    (visit.witness)(Happening::Sent(query));
    loop {
        let answer = visit.step(Step::Read, datagram(&socket, DATAGRAM)).await?;
        (visit.witness)(Happening::Received(&answer));
        // What comes late is of another question.
        if answer.get(..2) == Some(&id.to_be_bytes()) {
            return Ok(answer);
        }
    }
}

async fn by_stream(visit: &mut Visit<'_>, query: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut stream: TcpStream = visit.connect().await?;
    let length = u16::try_from(query.len()).unwrap_or(0).to_be_bytes();
    visit.send(&mut stream, &[&length, query].concat()).await?;
    let whole = |bytes: &[u8]| {
        let length = bytes.get(..2).and_then(|two| two.try_into().ok());
        length.map(|two| 2 + usize::from(u16::from_be_bytes(two)))
    };
    let most = 2 + usize::from(u16::MAX);
    let (answer, _) = visit
        .read(&mut stream, most, |bytes| {
            whole(bytes).is_some_and(|whole| bytes.len() >= whole)
        })
        .await?;
    Ok(answer.get(2..).unwrap_or_default().to_vec())
}

/// A question with recursion desired, as a resolver's client asks.
fn query(question: &Question, id: u16) -> Vec<u8> {
    let mut query = Vec::with_capacity(32 + question.name.len());
    query.extend_from_slice(&id.to_be_bytes());
    query.extend_from_slice(&[0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in question.name.split('.').filter(|label| !label.is_empty()) {
        let label = label.as_bytes();
        query.push(label.len().min(63) as u8);
        query.extend_from_slice(label.get(..63).unwrap_or(label));
    }
    query.push(0);
    query.extend_from_slice(&question.kind.to_be_bytes());
    query.extend_from_slice(&1_u16.to_be_bytes());
    query
}

/// Whether these bytes answer a question as they ought to, whatever its number was.
pub(super) fn answers(bytes: &[u8], question: &Question) -> bool {
    Message::read(bytes).is_some_and(|message| judge(question, &message).is_ok())
}

fn judge(question: &Question, message: &Message) -> Outcome {
    if question.rcode.is_some_and(|wanted| wanted != message.rcode) {
        let expected = question.rcode.map_or_else(String::new, rcode);
        return Err(wrong(rcode(message.rcode), expected));
    }
    let Some(wanted) = &question.answer else {
        return Ok(());
    };
    if message
        .records
        .iter()
        .any(|record| record.eq_ignore_ascii_case(wanted.trim_end_matches('.')))
    {
        return Ok(());
    }
    let records = message.records.join(" ");
    Err(wrong(quoted(records.as_bytes()), quoted(wanted.as_bytes())))
}

fn rcode(code: u8) -> String {
    match code {
        0 => "NOERROR".to_owned(),
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        other => format!("response code {other}"),
    }
}

/// What there is to know of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    id: u16,
    rcode: u8,
    /// What the records of the answer say, in words.
    records: Vec<String>,
}

impl Message {
    /// Reads an answer. Records that cannot be read end the list; a message without the header of an answer is
    /// none.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut place = 0;
        let id = number(bytes, &mut place)?;
        let flags = number(bytes, &mut place)?;
        if flags & 0x8000 == 0 {
            return None;
        }
        let questions = number(bytes, &mut place)?;
        let answers = number(bytes, &mut place)?;
        place = 12;
        let mut message = Self {
            id,
            rcode: (flags & 0xf) as u8,
            records: Vec::new(),
        };
        for _ in 0..questions {
            if name(bytes, &mut place).is_none() {
                return Some(message);
            }
            place += 4;
        }
        for _ in 0..answers {
            match record(bytes, &mut place) {
                Some(record) => message.records.push(record),
                None => break,
            }
        }
        Some(message)
    }
}

/// What a record says: an address, a name, a text.
fn record(bytes: &[u8], place: &mut usize) -> Option<String> {
    name(bytes, place)?;
    let kind = number(bytes, place)?;
    *place += 6;
    let length = usize::from(number(bytes, place)?);
    let start = *place;
    let data = bytes.get(start..start.checked_add(length)?)?;
    *place = start + length;
    let mut inside = start;
    Some(match kind {
        1 => Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).to_string(),
        28 => Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).to_string(),
        2 | 5 | 6 | 12 => name(bytes, &mut inside)?,
        15 => {
            let preference = number(bytes, &mut inside)?;
            format!("{preference} {}", name(bytes, &mut inside)?)
        }
        33 => {
            let numbers = [
                number(bytes, &mut inside)?,
                number(bytes, &mut inside)?,
                number(bytes, &mut inside)?,
            ];
            let [priority, weight, port] = numbers;
            format!("{priority} {weight} {port} {}", name(bytes, &mut inside)?)
        }
        16 => text(data)?,
        _ => data.escape_ascii().to_string(),
    })
}

fn number(bytes: &[u8], place: &mut usize) -> Option<u16> {
    let two = bytes.get(*place..place.checked_add(2)?)?;
    *place += 2;
    Some(u16::from_be_bytes(two.try_into().ok()?))
}

/// A name, which may go on elsewhere; only before where it began, so that it has an end.
fn name(bytes: &[u8], place: &mut usize) -> Option<String> {
    let mut labels = Vec::new();
    let mut at = *place;
    let mut length = 0;
    let mut after = None;
    loop {
        let &octet = bytes.get(at)?;
        match octet {
            0 => {
                *place = after.unwrap_or(at + 1);
                return Some(labels.join("."));
            }
            1..=63 => {
                let end = at + 1 + usize::from(octet);
                let label = bytes.get(at + 1..end)?;
                length += label.len() + 1;
                if length > NAME {
                    return None;
                }
                labels.push(label.escape_ascii().to_string());
                at = end;
            }
            0xc0.. => {
                let mut here = at;
                let target = usize::from(number(bytes, &mut here)? & 0x3fff);
                if target >= at {
                    return None;
                }
                after.get_or_insert(here);
                at = target;
            }
            _ => return None,
        }
    }
}

/// The strings of a TXT record, one after the other.
fn text(mut data: &[u8]) -> Option<String> {
    let mut text = String::new();
    while let Some((&length, rest)) = data.split_first() {
        let (part, rest) = rest.split_at_checked(usize::from(length))?;
        text.push_str(&part.escape_ascii().to_string());
        data = rest;
    }
    Some(text)
}

#[cfg(test)]
pub(super) mod testing {
    /// An answer to a question: the response code, and records of a type with their data.
    pub(crate) fn answer(query: &[u8], rcode: u8, records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut answer = query.to_vec();
        answer[2] |= 0x80;
        answer[3] = rcode;
        answer[7] = u8::try_from(records.len()).unwrap();
        for (kind, data) in records {
            answer.extend_from_slice(&[0xc0, 12]);
            answer.extend_from_slice(&kind.to_be_bytes());
            answer.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            answer.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
            answer.extend_from_slice(data);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::answer, *};

    fn question(name: &str, kind: u16) -> Question {
        Question {
            name: name.to_owned(),
            kind,
            rcode: Some(0),
            answer: None,
        }
    }

    #[test]
    fn questions() {
        let query = query(&question("www.example", 28), 0xabcd);
        assert_eq!(
            query,
            *b"\xab\xcd\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\0\0\x1c\0\x01"
        );
        assert_eq!(super::query(&question("", 6), 1)[12..], *b"\0\0\x06\0\x01");
    }

    #[test]
    fn records_in_words() {
        let query = query(&question("www.example", 1), 7);
        // Each name ends as the question does: `example` is at 16.
        let table: [(u16, &[u8], &str); 7] = [
            (1, &[192, 0, 2, 1], "192.0.2.1"),
            (
                28,
                &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                "2001:db8::1",
            ),
            (5, b"\x01a\xc0\x10", "a.example"),
            (15, b"\0\x0a\x02mx\xc0\x10", "10 mx.example"),
            (
                33,
                b"\0\x01\0\x02\x1f\x90\x01s\xc0\x10",
                "1 2 8080 s.example",
            ),
            (16, b"\x03v=1\x02;x", "v=1;x"),
            (99, b"a\0", "a\\x00"),
        ];
        for (kind, data, words) in table {
            let message = Message::read(&answer(&query, 0, &[(kind, data)])).unwrap();
            assert_eq!(message.records, [words]);
            assert_eq!((message.id, message.rcode), (7, 0));
        }
    }

    #[test]
    fn answers_are_judged() {
        let asked = question("www.example", 1);
        let query = query(&asked, 7);
        let good: &[(u16, &[u8])] = &[(1, &[192, 0, 2, 1]), (1, &[192, 0, 2, 2])];
        let wanting = |rcode, answer: Option<&str>| Question {
            rcode,
            answer: answer.map(str::to_owned),
            ..asked.clone()
        };
        let table = [
            (wanting(Some(0), None), answer(&query, 0, good), "well"),
            (
                wanting(Some(0), Some("192.0.2.2")),
                answer(&query, 0, good),
                "well",
            ),
            (
                wanting(Some(0), Some("192.0.2.3")),
                answer(&query, 0, good),
                r#"answered "192.0.2.1 192.0.2.2", expected "192.0.2.3""#,
            ),
            (
                wanting(Some(0), None),
                answer(&query, 2, &[]),
                "answered SERVFAIL, expected NOERROR",
            ),
            (wanting(Some(3), None), answer(&query, 3, &[]), "well"),
            (wanting(None, None), answer(&query, 5, &[]), "well"),
        ];
        for (question, answer, said) in table {
            let message = Message::read(&answer).unwrap();
            let outcome = judge(&question, &message);
            let outcome =
                outcome.map_or_else(|failure| failure.to_string(), |()| "well".to_owned());
            assert_eq!(outcome, said);
        }
    }

    #[test]
    fn no_answer_hangs_or_panics() {
        let query = query(&question("www.example", 5), 7);
        // Names that point at themselves, at each other, and forward.
        for data in [
            b"\xc0\x1f".as_slice(),
            b"\xc0\xff",
            b"\x01a\xc0\x29",
            b"\xff\xff",
        ] {
            let message = Message::read(&answer(&query, 0, &[(5, data)])).unwrap();
            assert!(message.records.len() < 2, "{message:?}");
        }
        let whole = answer(&query, 0, &[(5, b"\x01a\xc0\x10"), (16, b"\x03abc")]);
        for length in 0..whole.len() {
            let _anything = Message::read(&whole[..length]);
        }
        for place in 0..whole.len() {
            for value in [0, 1, 0x3f, 0xc0, 0xff] {
                let mut changed = whole.clone();
                changed[place] = value;
                let _anything = Message::read(&changed);
            }
        }
        // The question itself is no answer.
        assert_eq!(Message::read(&query), None);
    }
}
