//! Bodies of all kinds, most of them nonsense, as by `fuzz/fuzz_targets/api_bodies.rs` but the same each time.

mod body;

/// What clients send.
const SENT: [&str; 11] = [
    r#"{"changes":[{"change":"add-service","service":"TCP 192.0.2.11:80","terms":{"scheduler":"wrr","persistent":300,"mask":"255.255.255.0","sorry_server":"10.0.0.9:0"}},{"change":"add-server","service":"TCP 192.0.2.11:80","server":"10.0.0.3:8080","terms":{"forwarding":{"method":"nat"},"weight":5,"upper":9,"lower":4}}]}"#,
    r#"{"changes":[{"change":"add-service","service":"FWM 7 IPv6","terms":{"flags":{"fallback":true,"port":false,"compat":true},"scheduler":"mh","matches":[{"address":"2001:db8::1","protocol":"udp","first":0,"last":65535}],"one_packet":true,"engine":"sip"}}]}"#,
    r#"{"changes":[{"change":"edit-service","service":"TCP 192.0.2.10:80","terms":{"name":"shop","refuse":"drop","drain":4294967295}}],"dry_run":true}"#,
    r#"{"changes":[{"change":"edit-server","service":"tcp 192.0.2.10:80","server":"10.0.0.1:80","terms":{"forwarding":{"method":"tunnel","tunnel":{"gue":{"port":6080,"checksum":true}}},"weight":0}}]}"#,
    r#"{"changes":[{"change":"remove-server","service":"TCP 192.0.2.10:80","server":"10.0.0.2:80"},{"change":"add-server","service":"TCP 192.0.2.10:80","server":"10.0.0.2:80"}]}"#,
    r#"{"changes":[{"change":"remove-service","service":"TCP 192.0.2.10:80"},{"change":"add-service","service":"TCP 192.0.2.10:80"},{"change":"revert"}]}"#,
    r#"{"changes":[{"change":"clear"},{"change":"set-timeouts","tcp":60,"tcp_fin":0,"udp":4294967295},{"change":"zero"},{"change":"zero","service":"FWM 1"}]}"#,
    r#"{"changes":[{"change":"add-service","service":"SCTP [2001:db8::10]:5000","terms":{"mask":"ffff::","persistent":2678400}}]}"#,
    r#"{"verb":"drain","service":"web","server":"rs1","deadline":60}"#,
    r#"{"verb":"auto","service":"192.0.2.10:80","server":"[10.0.0.1]"}"#,
    r#"{"sample":100,"drops_only":true}"#,
];

/// What may stand where something else stood.
const PIECES: [&str; 26] = [
    "",
    "0",
    "-1",
    "1e9",
    "4294967296",
    "18446744073709551616",
    "null",
    "true",
    "\"\"",
    "{}",
    "[]",
    "{",
    "]",
    "\"change\"",
    "\"clear\"",
    "\"revert\"",
    "\"TCP 192.0.2.10:80\"",
    "\"TCP 0.0.0.0:0\"",
    "\"FWM 4294967295\"",
    "\"10.0.0.1:80\"",
    "\"[::]:0\"",
    "\"10.0.0.2:80\"",
    "\"direct\"",
    "65535",
    "\"\\ud800\"",
    "\u{e9}",
];

/// Numbers as by chance, the same each time (xorshift64*).
struct Lots(u64);

impl Lots {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(drawn).unwrap_or(0) % limit
    }
}

#[test]
fn what_clients_send_is_understood() {
    for body in SENT {
        body::take(body.as_bytes());
        let is_changes = body.starts_with("{\"changes\"");
        let changes = serde_json::from_str::<lb_control::control::change::Changes>(body);
        assert_eq!(changes.is_ok(), is_changes, "{body}: {changes:?}");
    }
}

#[test]
fn nonsense_is_refused_or_does_no_harm() {
    let mut lots = Lots(0x1b);
    for round in 0..20_000 {
        let mut body = SENT[round % SENT.len()].as_bytes().to_vec();
        for _ in 0..=lots.below(3) {
            mutate(&mut body, &mut lots);
        }
        body::take(&body);
    }
}

fn mutate(body: &mut Vec<u8>, lots: &mut Lots) {
    let place = lots.below(body.len() + 1);
    match lots.below(6) {
        // A token becomes another one.
        0 | 1 => {
            let (begin, end) = token(body, place);
            let piece = PIECES[lots.below(PIECES.len())];
            body.splice(begin..end, piece.bytes());
        }
        // A token of another body comes in its place: fields go elsewhere.
        2 | 3 => {
            let other = SENT[lots.below(SENT.len())].as_bytes();
            let (from, to) = token(other, lots.below(other.len()));
            let (begin, end) = token(body, place);
            body.splice(begin..end, other[from..to].iter().copied());
        }
        // A change comes twice, or another list comes after it.
        4 => {
            let text = String::from_utf8_lossy(body).into_owned();
            let other = SENT[lots.below(8)];
            if let (Some(end), Some(begin)) = (text.rfind("}]"), other.find('[')) {
                let until = other.rfind(']').unwrap_or(other.len());
                let list = format!(",{}", &other[begin + 1..until]);
                *body = [&text[..=end], &list, &text[end + 1..]]
                    .concat()
                    .into_bytes();
            }
        }
        _ if !body.is_empty() => {
            let place = place.min(body.len() - 1);
            match lots.below(3) {
                0 => body.truncate(place),
                1 => drop(body.remove(place)),
                _ => body[place] ^= 1 << lots.below(8),
            }
        }
        _ => {}
    }
}

/// The word, number or text round this place.
fn token(body: &[u8], place: usize) -> (usize, usize) {
    let ends = |byte: &u8| b"{}[],:".contains(byte);
    let place = place.min(body.len());
    let begin = body[..place].iter().rposition(ends).map_or(0, |at| at + 1);
    let rest = body[place..].iter().position(ends);
    (begin, rest.map_or(body.len(), |at| place + at))
}
