//! The first words of protocols: SMTP, MySQL, PostgreSQL, Redis.

use super::{
    Failure, Outcome,
    failure::quoted,
    visit::{Duplex, Visit, wrong},
};
use crate::model::Greeting;

/// How much a server may say at a time.
const MOST: usize = 4096;

/// Exchanges the first words.
pub(super) async fn greet(visit: &mut Visit<'_>, greeting: &Greeting) -> Outcome {
    let mut stream = visit.connect().await?;
    converse(visit, &mut stream, greeting).await
}

/// The same over a stream that is there.
pub(super) async fn converse(
    visit: &mut Visit<'_>,
    stream: &mut impl Duplex,
    greeting: &Greeting,
) -> Outcome {
    match greeting {
        Greeting::Smtp { name } => smtp(visit, stream, name.as_deref()).await,
        Greeting::MySql { user } => mysql(visit, stream, user).await,
        Greeting::PostgreSql { user } => postgresql(visit, stream, user).await,
        Greeting::Redis => redis(visit, stream).await,
    }
}

/// RFC 5321: a greeting, EHLO, QUIT.
async fn smtp(visit: &mut Visit<'_>, stream: &mut impl Duplex, name: Option<&str>) -> Outcome {
    reply(visit, stream, "220").await?;
    let name = name.map_or_else(own_name, str::to_owned);
    visit
        .send(stream, format!("EHLO {name}\r\n").as_bytes())
        .await?;
    reply(visit, stream, "250").await?;
    // It is well already; this is politeness.
    if visit.send(stream, b"QUIT\r\n").await.is_ok() {
        let _farewell = reply(visit, stream, "221").await;
    }
    Ok(())
}

async fn reply(visit: &mut Visit<'_>, stream: &mut impl Duplex, code: &str) -> Outcome {
    let (said, is_whole) = visit.read(stream, MOST, is_whole_reply).await?;
    if is_whole && said.starts_with(code.as_bytes()) {
        return Ok(());
    }
    Err(wrong(quoted(&said), format!("{code} …")))
}

/// The last line of a reply has a blank behind its code.
fn is_whole_reply(said: &[u8]) -> bool {
    said.ends_with(b"\n")
        && said
            .split(|byte| *byte == b'\n')
            .rev()
            .nth(1)
            .is_some_and(|line| line.get(3) != Some(&b'-'))
}

fn own_name() -> String {
    let name = nix::unistd::gethostname().ok();
    let name = name.and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

/// The handshake of version 10, to the end: one that is broken off is held against the director
/// (`max_connect_errors`), while a user who is refused is not.
async fn mysql(visit: &mut Visit<'_>, stream: &mut impl Duplex, user: &str) -> Outcome {
    const EXPECTED: &str = "a greeting of MySQL";
    let greeting = mysql_packet(visit, stream, EXPECTED).await?;
    match greeting.first() {
        Some(10) => {}
        Some(0xff) => return Err(wrong(mysql_error(&greeting), EXPECTED)),
        Some(_) | None => return Err(wrong(quoted(&greeting), EXPECTED)),
    }
    visit.send(stream, &mysql_login(user)).await?;
    let answer = mysql_packet(visit, stream, "an answer of MySQL").await?;
    match answer.first() {
        // OK, or another way to authenticate is asked for.
        Some(0 | 0xfe | 1) => Ok(()),
        // Access denied, of one kind or another: it is there and knows whom it serves.
        Some(0xff)
            if matches!(
                mysql_code(&answer),
                Some(1044 | 1045 | 1698 | 1251 | 3118 | 3159)
            ) =>
        {
            Ok(())
        }
        Some(0xff) => Err(wrong(mysql_error(&answer), "an answer of MySQL")),
        Some(_) | None => Err(wrong(quoted(&answer), "an answer of MySQL")),
    }
}

async fn mysql_packet(
    visit: &mut Visit<'_>,
    stream: &mut impl Duplex,
    expected: &str,
) -> Result<Vec<u8>, Failure> {
    let whole = |bytes: &[u8]| match bytes {
        [a, b, c, _, ..] => Some(4 + u32::from_le_bytes([*a, *b, *c, 0]) as usize),
        _ => None,
    };
    let enough =
        |bytes: &[u8]| whole(bytes).is_some_and(|whole| bytes.len() >= whole || whole > MOST);
    let (packet, is_enough) = visit.read(stream, MOST, enough).await?;
    match whole(&packet) {
        Some(length) if is_enough && length <= MOST => {
            Ok(packet.get(4..length).unwrap_or_default().to_vec())
        }
        Some(_) | None => Err(wrong(quoted(&packet), expected)),
    }
}

/// HandshakeResponse41 without a password: PROTOCOL_41, SECURE_CONNECTION and PLUGIN_AUTH.
fn mysql_login(user: &str) -> Vec<u8> {
    const CAPABILITIES: u32 = 0x0000_0200 | 0x0000_8000 | 0x0008_0000;
    let mut inside = Vec::with_capacity(80);
    inside.extend_from_slice(&CAPABILITIES.to_le_bytes());
    inside.extend_from_slice(&(MOST as u32).to_le_bytes());
    inside.push(45);
    inside.extend_from_slice(&[0; 23]);
    inside.extend_from_slice(user.as_bytes());
    inside.push(0);
    // No answer to the challenge.
    inside.push(0);
    inside.extend_from_slice(b"mysql_native_password\0");
    let mut packet = (inside.len() as u32).to_le_bytes().to_vec();
    if let Some(number) = packet.get_mut(3) {
        *number = 1;
    }
    packet.extend_from_slice(&inside);
    packet
}

fn mysql_code(error: &[u8]) -> Option<u16> {
    Some(u16::from_le_bytes(error.get(1..3)?.try_into().ok()?))
}

fn mysql_error(error: &[u8]) -> String {
    let text = error.get(3..).unwrap_or_default();
    // With the state of SQL before it, if the handshake was far enough.
    let text = match text.first() {
        Some(b'#') => text.get(6..).unwrap_or_default(),
        Some(_) | None => text,
    };
    format!("error {} {}", mysql_code(error).unwrap_or(0), quoted(text))
}

/// A startup message of protocol 3.0. As with `pg_isready`, a server that refuses this user is there.
async fn postgresql(visit: &mut Visit<'_>, stream: &mut impl Duplex, user: &str) -> Outcome {
    const EXPECTED: &str = "an answer of PostgreSQL";
    let mut startup = vec![0, 0, 0, 0, 0, 3, 0, 0];
    for text in [
        "user",
        user,
        "database",
        "postgres",
        "application_name",
        "lvs-xdp nanny",
    ] {
        startup.extend_from_slice(text.as_bytes());
        startup.push(0);
    }
    startup.push(0);
    let length = (startup.len() as u32).to_be_bytes();
    if let Some(field) = startup.get_mut(..4) {
        field.copy_from_slice(&length);
    }
    visit.send(stream, &startup).await?;
    let whole = |bytes: &[u8]| match bytes {
        [_, length @ ..] => {
            let length = length.get(..4)?.try_into().ok()?;
            Some(1 + u32::from_be_bytes(length) as usize)
        }
        [] => None,
    };
    let enough = |bytes: &[u8]| match bytes.first() {
        // What it asks for does not matter, as long as it asks.
        Some(b'R') => whole(bytes).is_some(),
        Some(b'E') => whole(bytes).is_some_and(|whole| bytes.len() >= whole.min(MOST)),
        Some(_) => true,
        None => false,
    };
    let (answer, is_enough) = visit.read(stream, MOST, enough).await?;
    match answer.first() {
        Some(b'R') if is_enough => {
            // Terminate.
            let _gone = visit.send(stream, b"X\0\0\0\x04").await;
            Ok(())
        }
        Some(b'E') if is_enough => {
            let field = |kind: u8| {
                let fields = answer.get(5..).unwrap_or_default();
                let mut fields = fields.split(|byte| *byte == 0);
                fields
                    .find_map(|field| field.strip_prefix(&[kind]))
                    .unwrap_or_default()
            };
            let state = field(b'C');
            // Invalid authorization, and no such database.
            if state.starts_with(b"28") || state == b"3D000" {
                return Ok(());
            }
            let said = format!("error {} {}", state.escape_ascii(), quoted(field(b'M')));
            Err(wrong(said, EXPECTED))
        }
        Some(_) | None => Err(wrong(quoted(&answer), EXPECTED)),
    }
}

/// One that asks for a password is well; one that is loading, or has lost its master, is not.
async fn redis(visit: &mut Visit<'_>, stream: &mut impl Duplex) -> Outcome {
    visit.send(stream, b"PING\r\n").await?;
    let (said, _) = visit
        .read(stream, MOST, |bytes| bytes.ends_with(b"\n"))
        .await?;
    let good: [&[u8]; 3] = [b"+PONG\r\n", b"-NOAUTH", b"-NOPERM"];
    if good.iter().any(|good| said.starts_with(good)) {
        return Ok(());
    }
    Err(wrong(quoted(&said), "+PONG"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_several_lines() {
        let table: [(&[u8], bool); 7] = [
            (b"", false),
            (b"220 mail", false),
            (b"220 mail\r\n", true),
            (b"220-mail\r\n", false),
            (b"220-mail\r\n220 ready\r\n", true),
            (b"250-a\r\n250-b\r\n", false),
            (b"250\r\n", true),
        ];
        for (said, is_whole) in table {
            assert_eq!(is_whole_reply(said), is_whole, "{}", said.escape_ascii());
        }
    }

    #[test]
    fn a_login_of_mysql() {
        let packet = mysql_login("lb");
        assert_eq!(packet[..4], [(packet.len() - 4) as u8, 0, 0, 1]);
        assert_eq!(packet[36..40], *b"lb\0\0");
    }
}
