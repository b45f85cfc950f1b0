//! The floating addresses: virtual IPs and the NAT router, each once.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
};

use super::{
    diagnostic::{Diagnostic, Diagnostics, quote},
    source::{Source, Span},
    values::Netmask,
};
use crate::model::FloatingAddress;

/// What a block says about its address.
pub(super) struct Wanted<'a> {
    pub(super) address: IpAddr,
    /// From `address/prefix`.
    pub(super) prefix: Option<u8>,
    pub(super) mask: Netmask,
    pub(super) device: &'a str,
    /// Where the address, and where the mask is said.
    pub(super) span: Span,
    pub(super) mask_span: Span,
}

/// Collects floating addresses; of several blocks with one address the first one decides.
pub(super) struct Addresses<'a> {
    source: &'a Source,
    found: Vec<FloatingAddress>,
    places: HashMap<IpAddr, (usize, Span)>,
    labels: HashMap<String, (IpAddr, Span)>,
}

impl<'a> Addresses<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        Self {
            source,
            found: Vec::new(),
            places: HashMap::new(),
            labels: HashMap::new(),
        }
    }

    pub(super) fn into_vec(self) -> Vec<FloatingAddress> {
        self.found
    }

    /// The length of the prefix of an address that has been added.
    pub(super) fn prefix(&self, address: IpAddr) -> Option<u8> {
        let (index, _) = self.places.get(&address)?;
        self.found.get(*index).map(|found| found.prefix)
    }

    /// Adds one address, or tells why not.
    pub(super) fn add(&mut self, wanted: &Wanted<'_>, diagnostics: &mut Diagnostics) {
        let interface = wanted.device.split(':').next().unwrap_or_default();
        if !is_device(wanted.device, interface) {
            let message = format!("{} cannot be the name of a device", quote(wanted.device));
            diagnostics.push(
                Diagnostic::error(wanted.span, message)
                    .help("an interface as eth0, or an alias as eth0:1; at most 15 characters"),
            );
            return;
        }
        let prefix = prefix(wanted, diagnostics);
        let address = FloatingAddress {
            address: wanted.address,
            prefix,
            interface: interface.to_owned(),
            label: wanted.device.to_owned(),
        };
        if let Some((index, span)) = self.places.get(&wanted.address) {
            let first = self.found.get(*index).filter(|first| **first != address);
            if let Some(first) = first {
                let place = self.source.place(*span);
                let message = format!(
                    "{} has been put on {} with prefix /{} at {place}; that holds",
                    wanted.address, first.label, first.prefix
                );
                diagnostics.push(
                    Diagnostic::warning(wanted.span, message)
                        .help("give the same device and mask in all blocks with one address"),
                );
            }
            return;
        }
        self.tell_shared_alias(wanted, diagnostics);
        self.places
            .insert(wanted.address, (self.found.len(), wanted.span));
        self.found.push(address);
    }

    /// Two addresses on one alias were one too many for ifconfig.
    fn tell_shared_alias(&mut self, wanted: &Wanted<'_>, diagnostics: &mut Diagnostics) {
        if !wanted.device.contains(':') {
            return;
        }
        if let Some((other, span)) = self.labels.get(wanted.device) {
            let place = self.source.place(*span);
            let message = format!(
                "alias {} carries {other} already ({place}); Piranha would have replaced it",
                quote(wanted.device)
            );
            diagnostics
                .push(Diagnostic::warning(wanted.span, message).help("one alias per address"));
            return;
        }
        self.labels
            .insert(wanted.device.to_owned(), (wanted.address, wanted.span));
    }
}

/// What the kernel takes for a name: at most 15 bytes, no blank, no slash.
fn is_device(label: &str, interface: &str) -> bool {
    let strange = |c: char| c.is_whitespace() || c.is_control() || c == '/';
    !interface.is_empty()
        && label.len() <= 15
        && !label.contains(strange)
        && interface != "."
        && interface != ".."
}

/// The prefix length of a floating address. Without a mask it is the address alone: the classful
/// mask that ifconfig made up would route a whole network (10.x: 10.0.0.0/8) to the interface.
fn prefix(wanted: &Wanted<'_>, diagnostics: &mut Diagnostics) -> u8 {
    let longest = if wanted.address.is_ipv4() { 32 } else { 128 };
    let from_mask = match (wanted.mask, wanted.address) {
        (Netmask::NONE, _) => None,
        (Netmask::Prefix(length), IpAddr::V4(_)) if length <= 32 => {
            let old = Ipv4Addr::from(u32::from(length));
            let message = format!("{length} is read as a prefix length; Piranha read it as {old}");
            diagnostics.push(Diagnostic::warning(wanted.mask_span, message).liberty());
            Some(length)
        }
        (Netmask::Prefix(length), IpAddr::V6(_)) => Some(length),
        (Netmask::Dotted(mask), IpAddr::V4(_)) if is_contiguous(mask) => {
            u8::try_from(mask.to_bits().leading_ones()).ok()
        }
        (mask, _) => {
            let message = format!(
                "{mask} is no mask for {}; /{longest} is used",
                wanted.address
            );
            diagnostics.push(
                Diagnostic::warning(wanted.mask_span, message)
                    .help("like 255.255.255.0 for IPv4, like 64 for IPv6"),
            );
            None
        }
    };
    match (wanted.prefix, from_mask) {
        (Some(said), Some(mask)) if said != mask => {
            let message = format!("the mask says /{mask}, the address /{said}; /{said} is used");
            diagnostics.push(Diagnostic::warning(wanted.mask_span, message).help("say it once"));
            said
        }
        (Some(length), _) | (None, Some(length)) => length,
        (None, None) => longest,
    }
}

fn is_contiguous(mask: Ipv4Addr) -> bool {
    let bits = mask.to_bits();
    bits.leading_ones() + bits.trailing_zeros() == 32
}
