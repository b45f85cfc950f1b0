//! What is sent: which packets, how long they are, and how many CPUs send them.

use std::fmt;

use lb_control::model::Protocol;
use lb_tests::Family;
use serde::Serialize;

use crate::case::{Case, Method, Traffic};

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) case: Case,
    pub(crate) size: Size,
}

/// How long frames are, and how many CPUs send them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Size {
    /// As the kernel holds them: from the Ethernet header on, without the check sequence.
    pub(crate) bytes: usize,
    pub(crate) cpus: usize,
}

/// How many flows of each CPU are established.
const FLOWS: u32 = 1_024;
/// The same, where more is asked for. There are no more ports of one client (RFC 6335: 2^14).
const MORE_FLOWS: u32 = 16_384;
/// The shortest frame of Ethernet, without its check sequence, is 60 bytes long.
const LENGTHS: [usize; 3] = [64, 512, 1_500];
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

impl Size {
    /// Every length by one CPU, and by all of so many.
    pub(crate) fn all(cpus: usize) -> Vec<Self> {
        let mut sizes = Vec::new();
        for bytes in LENGTHS {
            sizes.push(Self { bytes, cpus: 1 });
            if cpus > 1 {
                sizes.push(Self { bytes, cpus });
            }
        }
        sizes
    }

    fn is_shortest(&self) -> bool {
        self.bytes == LENGTHS[0]
    }
}

impl Load {
    /// The ones that tell most, with so many CPUs.
    pub(crate) fn important(cpus: usize) -> Vec<Self> {
        let mut all = Self::all(cpus);
        all.retain(|load| {
            let Case { family, method, .. } = load.case;
            let is_plain = matches!(method, Method::Nat | Method::Direct | Method::Tunnel);
            let is_usual = load.case.flows() == Some(FLOWS);
            is_plain && is_usual && (family == Family::V4 || load.size.is_shortest())
        });
        all
    }

    /// Every one that there is, with so many CPUs.
    pub(crate) fn all(cpus: usize) -> Vec<Self> {
        let mut loads = Vec::new();
        for family in FAMILIES {
            for method in Method::ALL {
                for traffic in [
                    Traffic::Established(FLOWS),
                    Traffic::Established(MORE_FLOWS),
                    Traffic::New,
                ] {
                    // A real server's packets belong to flows that are there.
                    if method == Method::Reply && traffic == Traffic::New {
                        continue;
                    }
                    // pktgen makes nothing but datagrams.
                    let case = Case::new(method, family, Protocol::Udp, traffic);
                    let sizes = Size::all(cpus).into_iter();
                    loads.extend(sizes.map(|size| Self { case, size }));
                }
            }
        }
        loads
    }
}

/// Packets between others, where the words of a case do not fit: by the family alone.
pub(crate) const fn requests(family: Family) -> Case {
    let traffic = Traffic::Established(FLOWS);
    Case::new(Method::Direct, family, Protocol::Udp, traffic)
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, cpus } = self;
        let plural = if *cpus == 1 { "" } else { "s" };
        write!(f, "{bytes}-bytes-{cpus}-cpu{plural}")
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.case, self.size)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::case::has_words;

    #[test]
    fn a_load_is_named_by_case_length_and_cpus() {
        let name = |bytes, cpus| {
            let case = Case::new(Method::Tunnel, Family::V6, Protocol::Udp, Traffic::New);
            let size = Size { bytes, cpus };
            Load { case, size }.to_string()
        };
        assert_eq!(name(64, 1), "tunnel-v6-udp-new-64-bytes-1-cpu");
        assert_eq!(name(1_500, 8), "tunnel-v6-udp-new-1500-bytes-8-cpus");
        let table: [(&[&str], bool); 6] = [
            (&["tunnel", "64"], true),
            (&["64-bytes", "1-cpu"], true),
            (&["new"], true),
            (&["1-cpus"], false),
            (&["6"], false),
            (&["v4"], false),
        ];
        for (words, expected) in table {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(has_words(&name(64, 1), &words), expected, "{words:?}");
        }
    }

    #[test]
    fn no_two_loads_have_one_name() {
        for cpus in [1, 2, 64] {
            let names = |loads: Vec<Load>| -> BTreeSet<_> {
                let count = loads.len();
                let names: BTreeSet<_> = loads.iter().map(Load::to_string).collect();
                assert_eq!(names.len(), count);
                names
            };
            let all = names(Load::all(cpus));
            assert!(names(Load::important(cpus)).is_subset(&all));
        }
    }
}
