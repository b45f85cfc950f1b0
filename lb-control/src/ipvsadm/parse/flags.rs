//! `-b`: flags of a scheduler, by name.

use super::{Complaint, Service};

/// Reads names with commas between them.
///
/// # Errors
/// If there is no such flag, or the scheduler does not have it.
pub(super) fn parse(text: &str, scheduler: &str) -> Result<u32, Complaint> {
    let mut flags = 0;
    for name in text.split(',').filter(|name| !name.is_empty()) {
        let (of, flag) = match name {
            "flag-1" => (None, Service::FALLBACK),
            "flag-2" => (None, Service::PORT),
            "flag-3" => (None, Service::THIRD),
            "sh-fallback" => (Some("sh"), Service::FALLBACK),
            "sh-port" => (Some("sh"), Service::PORT),
            "mh-fallback" => (Some("mh"), Service::FALLBACK),
            "mh-port" => (Some("mh"), Service::PORT),
            _ => {
                return Err(Complaint::usage(format!("invalid scheduler flag `{name}'")));
            }
        };
        if of.is_some_and(|of| of != scheduler) {
            return Err(Complaint::usage(format!(
                "incompatible scheduler flag `{name}'"
            )));
        }
        flags |= flag;
    }
    Ok(flags)
}
