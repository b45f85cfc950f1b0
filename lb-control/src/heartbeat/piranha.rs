//! The heartbeat of Piranha's pulse: four bytes, a number in the sender's byte order, which was little-endian
//! wherever it ran. Nothing says who sent it but the address that it comes from.

use super::machine::Role;

/// Which services a pair has (`service`); each kind has numbers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Services {
    /// Virtual ones.
    #[default]
    Virtual,
    /// Those that run on the directors.
    Failover,
}

/// What a heartbeat says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The part of the sender: active or standby.
    Part(Role),
    /// It found the services of this node not to be well, and wants to be active. Only of failover services.
    GiveWay,
}

/// "Stop, I want control."
const STOP: u32 = 0xdead_dada;

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

impl Services {
    /// What the active one says, and the other one.
    const fn numbers(self) -> [u32; 2] {
        match self {
            Self::Virtual => [0xbdad_dbda, 0xadbd_dabd],
            Self::Failover => [0xbeef_babe, 0xdead_beef],
        }
    }
}

/// What a node of this part sends.
#[must_use]
pub const fn encode(role: Role, services: Services) -> [u8; 4] {
    let [running, stopped] = services.numbers();
    match role {
        Role::Active | Role::Leaving | Role::Absent => running,
        Role::Starting | Role::Standby | Role::Yielding | Role::Goodbye => stopped,
    }
    .to_le_bytes()
}

/// What the sender says.
///
/// # Errors
/// If it is no heartbeat of a director with such services.
pub fn decode(bytes: &[u8], services: Services) -> Result<Said, Malformed> {
    let bytes = bytes.try_into().map_err(|_| Malformed::Length)?;
    let numbers = [u32::from_le_bytes(bytes), u32::from_be_bytes(bytes)];
    let [running, stopped] = services.numbers();
    if numbers.contains(&running) {
        Ok(Said::Part(Role::Active))
    } else if numbers.contains(&stopped) {
        Ok(Said::Part(Role::Standby))
    } else if numbers.contains(&STOP) && services == Services::Failover {
        Ok(Said::GiveWay)
    } else {
        Err(Malformed::Magic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_pulse() {
        use Services::{Failover, Virtual};
        assert_eq!(encode(Role::Active, Virtual), [0xda, 0xdb, 0xad, 0xbd]);
        assert_eq!(encode(Role::Standby, Virtual), [0xbd, 0xda, 0xbd, 0xad]);
        assert_eq!(encode(Role::Active, Failover), [0xbe, 0xba, 0xef, 0xbe]);
        assert_eq!(encode(Role::Standby, Failover), [0xef, 0xbe, 0xad, 0xde]);
        let (active, standby) = (Ok(Said::Part(Role::Active)), Ok(Said::Part(Role::Standby)));
        let table = [
            (&[0xda, 0xdb, 0xad, 0xbd][..], Virtual, active),
            (&[0xbd, 0xad, 0xdb, 0xda], Virtual, active),
            (&[0xbd, 0xda, 0xbd, 0xad], Virtual, standby),
            (&[0xad, 0xbd, 0xda, 0xbd], Virtual, standby),
            (&[0xbe, 0xba, 0xef, 0xbe], Virtual, Err(Malformed::Magic)),
            (&[0xbe, 0xba, 0xef, 0xbe], Failover, active),
            (&[0xde, 0xad, 0xbe, 0xef], Failover, standby),
            (&[0xda, 0xda, 0xad, 0xde], Failover, Ok(Said::GiveWay)),
            (&[0xda, 0xda, 0xad, 0xde], Virtual, Err(Malformed::Magic)),
            (&[0xda, 0xdb, 0xad, 0xbd], Failover, Err(Malformed::Magic)),
            (b"LBHB", Virtual, Err(Malformed::Magic)),
            (&[], Virtual, Err(Malformed::Length)),
            (
                &[0xda, 0xdb, 0xad, 0xbd, 0],
                Virtual,
                Err(Malformed::Length),
            ),
        ];
        for (bytes, services, said) in table {
            assert_eq!(decode(bytes, services), said, "{bytes:02x?} {services:?}");
        }
    }
}
