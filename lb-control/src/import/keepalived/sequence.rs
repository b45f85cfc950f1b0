//! `~SEQ(var, start, step, end)` and `~LST(var, value, …)`: what follows is said many times.

/// A line that is to be repeated.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sequence<'a> {
    /// The parameters of each time.
    pub(super) values: Vec<Vec<(String, String)>>,
    /// What is repeated.
    pub(super) rest: &'a str,
}

/// More than a file could need.
const MOST: i64 = 100_000;

/// What a line that begins with `~SEQ` or `~LST` says; why not, if it cannot be told.
pub(super) fn parse(text: &str) -> Result<Sequence<'_>, String> {
    let (head, rest) = text.split_once('(').ok_or("a sequence without `(`")?;
    let (inside, rest) = split_at_close(rest).ok_or("a sequence without `)`")?;
    let values = match head {
        "~SEQ" => numbers(inside, |number| number.to_string())?,
        "~SEQx" => numbers(inside, |number| match number < 0 {
            true => format!("-{:x}", number.unsigned_abs()),
            false => format!("{number:x}"),
        })?,
        "~LST" => list(inside)?,
        other => return Err(format!("`{other}` is no sequence")),
    };
    Ok(Sequence { values, rest })
}

/// Parentheses may stand in what is inside.
fn split_at_close(text: &str) -> Option<(&str, &str)> {
    let mut open = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => open += 1,
            ')' if open == 0 => return Some((text.get(..at)?, text.get(at + 1..)?)),
            ')' => open -= 1,
            _ => {}
        }
    }
    None
}

fn numbers(
    inside: &str,
    write: impl Fn(i64) -> String,
) -> Result<Vec<Vec<(String, String)>>, String> {
    let parts: Vec<&str> = inside.split(',').map(str::trim).collect();
    let number = |text: &str| integer(text).ok_or_else(|| format!("`{text}` is no number"));
    let (name, start, step, end) = match parts.as_slice() {
        [name, end] => {
            let end = number(end)?;
            (name, end.signum(), end.signum(), end)
        }
        [name, start, end] => {
            let (start, end) = (number(start)?, number(end)?);
            (name, start, if end < start { -1 } else { 1 }, end)
        }
        [name, start, step, end] => (name, number(start)?, number(step)?, number(end)?),
        _ => return Err(format!("`~SEQ({inside})` is not understood")),
    };
    let count = match step {
        0 => return Err(format!("`~SEQ({inside})` would never end")),
        step => (end - start) / step + 1,
    };
    if count > MOST {
        return Err(format!("`~SEQ({inside})` is more than {MOST} times"));
    }
    let at = |index| vec![((*name).to_owned(), write(start + index * step))];
    // Where the end lies the other way there is nothing to say.
    let is_backwards = (end - start).signum() * step.signum() < 0;
    Ok(if is_backwards {
        Vec::new()
    } else {
        (0..count).map(at).collect()
    })
}

fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let number = match digits.strip_prefix("0x") {
        Some(hex) => i64::from(u32::from_str_radix(hex, 16).ok()?),
        None => i64::from(digits.parse::<u32>().ok()?),
    };
    Some(if negative { -number } else { number })
}

/// `var, a, b` or `{v, w}, {a, b}, {c, d}`.
fn list(inside: &str) -> Result<Vec<Vec<(String, String)>>, String> {
    let parts = split_list(inside);
    let (names, values) = parts.split_first().ok_or("an empty `~LST`")?;
    let names = members(names);
    if values.len() as i64 > MOST {
        return Err(format!("a `~LST` of more than {MOST} values"));
    }
    let mut all = Vec::new();
    for value in values {
        let members = members(value);
        if members.len() != names.len() {
            return Err(format!(
                "`{value}` has not as many values as there are names"
            ));
        }
        let pairs = names.iter().zip(members);
        all.push(
            pairs
                .map(|(name, value)| ((*name).to_owned(), value.to_owned()))
                .collect(),
        );
    }
    Ok(all)
}

/// At the commas that are not in braces.
fn split_list(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut begun = 0;
    let mut open = 0_i32;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            ',' if open <= 0 => {
                parts.push(text.get(begun..at).unwrap_or_default().trim());
                begun = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(begun..).unwrap_or_default().trim());
    parts
}

fn members(text: &str) -> Vec<&str> {
    let inside = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    match inside {
        Some(inside) => inside.split(',').map(str::trim).collect(),
        None => vec![text],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_they_stand_for() {
        let table = [
            ("~SEQ(A, 3) x", "A=1|A=2|A=3"),
            ("~SEQ(A, -2) x", "A=-1|A=-2"),
            ("~SEQ(A, 0, 3) x", "A=0|A=1|A=2|A=3"),
            ("~SEQ(A, 3, 1) x", "A=3|A=2|A=1"),
            ("~SEQ(A, 168, 2, 172) x", "A=168|A=170|A=172"),
            ("~SEQ(A, 1, 2, 4) x", "A=1|A=3"),
            ("~SEQ(A, 4, 1, 1) x", ""),
            ("~SEQx(A, 0x90, 0x10, 0xc0) x", "A=90|A=a0|A=b0|A=c0"),
            ("~LST(A, x, y) x", "A=x|A=y"),
            ("~LST({A, B}, {1,2},{3,4}) x", "A=1,B=2|A=3,B=4"),
        ];
        for (text, expected) in table {
            let sequence = parse(text).unwrap();
            let times = sequence.values.iter().map(|set| {
                let pairs = set.iter().map(|(name, value)| format!("{name}={value}"));
                pairs.collect::<Vec<_>>().join(",")
            });
            assert_eq!(times.collect::<Vec<_>>().join("|"), expected, "{text}");
            assert_eq!(sequence.rest, " x", "{text}");
        }
    }

    #[test]
    fn what_has_no_end_or_no_sense_is_refused() {
        for text in [
            "~SEQ(A, 0, 0, 3)",
            "~SEQ(A, 1, 4000000000)",
            "~SEQ(A, 4294967296)",
            "~SEQ(A)",
            "~SEQ(A, b)",
            "~SEQ",
            "~SEQ(A, 1, 2",
            "~LST({A,B}, 1)",
            "~SEQy(A, 1)",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
