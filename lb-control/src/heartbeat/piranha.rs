//! The heartbeat of Piranha's pulse: four bytes, a number in the sender's byte order, which was little-endian
//! wherever it ran. Nothing says who sent it but the address that it comes from.

use super::machine::Role;

/// The sender is active.
const RUNNING: u32 = 0xbdad_dbda;

/// It is on standby.
const STOPPED: u32 = 0xadbd_dabd;

/// Why a datagram is no heartbeat, in Piranha's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It has not four bytes.
    #[error("bad heartbeat packet")]
    Length,
    /// It is another number.
    #[error("Incompatible heartbeat received -- other system not using identical services")]
    Magic,
}

/// What a node of this part sends.
#[must_use]
pub const fn encode(role: Role) -> [u8; 4] {
    match role {
        Role::Active | Role::Leaving | Role::Absent => RUNNING,
        Role::Starting | Role::Standby | Role::Yielding | Role::Goodbye => STOPPED,
    }
    .to_le_bytes()
}

/// The part of the sender: active or standby.
///
/// # Errors
/// If it is no heartbeat of a director with virtual services.
pub fn decode(bytes: &[u8]) -> Result<Role, Malformed> {
    let bytes = bytes.try_into().map_err(|_| Malformed::Length)?;
    let numbers = [u32::from_le_bytes(bytes), u32::from_be_bytes(bytes)];
    if numbers.contains(&RUNNING) {
        Ok(Role::Active)
    } else if numbers.contains(&STOPPED) {
        Ok(Role::Standby)
    } else {
        Err(Malformed::Magic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_pulse() {
        assert_eq!(encode(Role::Active), [0xda, 0xdb, 0xad, 0xbd]);
        assert_eq!(encode(Role::Standby), [0xbd, 0xda, 0xbd, 0xad]);
        let table = [
            (&[0xda, 0xdb, 0xad, 0xbd][..], Ok(Role::Active)),
            (&[0xbd, 0xad, 0xdb, 0xda], Ok(Role::Active)),
            (&[0xbd, 0xda, 0xbd, 0xad], Ok(Role::Standby)),
            (&[0xad, 0xbd, 0xda, 0xbd], Ok(Role::Standby)),
            (&[0xbe, 0xba, 0xef, 0xbe], Err(Malformed::Magic)),
            (b"LBHB", Err(Malformed::Magic)),
            (&[], Err(Malformed::Length)),
            (&[0xda, 0xdb, 0xad, 0xbd, 0], Err(Malformed::Length)),
        ];
        for (bytes, role) in table {
            assert_eq!(decode(bytes), role, "{bytes:02x?}");
        }
    }
}
